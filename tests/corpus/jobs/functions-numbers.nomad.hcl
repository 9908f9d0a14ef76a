job "number-functions" {
  meta {
    abs   = abs(-5)
    ceil  = ceil(1.2)
    floor = floor(1.8)
    max   = max(1, 9, 3)
    min   = min(4, 2)
    pow   = pow(2, 10)
    sign  = signum(-3)
    log   = log(8, 2)
    hex   = parseint("ff", 16)
    big   = 100000000000000000000 / 100000000000000000000
  }
  group "g" {
    count = length(range(3))
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
