job "win" {
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "windows"
  }
  group "iis" {
    task "site" {
      driver = "raw_exec"
      config {
        command = "C:\\Program Files\\App\\app.exe"
        args    = ["/config:C:\\etc\\app.xml", "/quiet"]
      }
      env {
        Path = "C:\\bin;%PATH%"
      }
    }
  }
}
