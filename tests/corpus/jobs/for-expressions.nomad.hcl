locals {
  hosts = ["a", "b", "c"]
  ports = { web = 80, db = 5432, old = 0 }
}
job "for-loops" {
  meta = { for name, port in local.ports : "port_${name}" => port if port > 0 }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args = concat(
          [for i, host in local.hosts : "${i}=${host}.example"],
          [for name in keys(local.ports) : name if name != "old"],
        )
      }
      env = { for host in local.hosts : upper(host) => strlen(host) }
    }
  }
}
