job "heredocs" {
  meta {
    plain = <<EOT
a
  b
EOT
    flush = <<-EOT
      a
        b
      EOT
    inter = <<-EOT
      ${upper("x")} and ${NOMAD_TASK_DIR}
      %{ for i in [1, 2] ~}
      row ${i}
      %{ endfor ~}
      end
    EOT
    empty = <<EOT
EOT
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
