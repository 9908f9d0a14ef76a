job "numbers" {
  meta {
    int      = 1
    negative = -17
    float    = 1.5
    exponent = 1e3
    small    = 0.001
    sum      = 0.1 + 0.2
  }
  group "g" {
    count = 4 / 2
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
