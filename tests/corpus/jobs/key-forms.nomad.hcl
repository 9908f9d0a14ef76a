job "key-forms" {
  meta {
    bare    = "{{ site/name }}"
    quoted  = "{{ key \"site/name\" }}"
    default = "{{ keyOrDefault \"site/colour\" \"blue\" }}"
  }

  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/opt/{{ site/name }}/bin/server"
        args    = ["--listen", "${NOMAD_ADDR_http}", "--site={{ site/name }}"]
      }
      env {
        RELEASE = "{{ deployments/server }}"
      }
    }
    network {
      port "http" {}
    }
  }
}
