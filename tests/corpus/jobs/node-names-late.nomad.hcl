job "late" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      env {
        IP      = "${attr.unique.network.ip-address}"
        RACK    = "${meta.rack}"
        NODE    = "${node.unique.name}"
        REGION  = "${node.region}"
        INDEXED = "${meta.list[0]}"
        HOME    = "${env["HOME"]}"
        MIXED   = "http://${NOMAD_IP_http}:${NOMAD_PORT_http}/"
      }
      config { command = "${NOMAD_TASK_DIR}/bin/x" }
    }
  }
}
