variable "stage" {
  default = "prod"
}
job "conditional" {
  priority = var.stage == "prod" ? 80 : 30
  group "g" {
    count = var.stage == "prod" && true ? 3 : 1
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args    = [
          "%{ if var.stage == "prod" }live%{ else }test%{ endif }",
          "%{ for n in ["a", "b"] }<${n}>%{ endfor }",
          (1 + 2) * 3 - -4 % 3 >= 8 ? "yes" : "no",
          !false || null == "x",
        ]
      }
    }
  }
}
