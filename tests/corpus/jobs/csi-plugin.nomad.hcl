job "csi-plugin" {
  type = "system"
  group "nodes" {
    task "plugin" {
      driver = "docker"
      config {
        image      = "csi/hostpath:v1.14"
        args       = ["--endpoint=unix:///csi/csi.sock", "--nodeid=${node.unique.name}"]
        privileged = true
      }
      csi_plugin {
        id             = "hostpath"
        type           = "monolith"
        mount_dir      = "/csi"
        health_timeout = "45s"

        stage_publish_base_dir = "/local/csi"
      }
    }
  }
}
