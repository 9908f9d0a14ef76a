job "mock" {
  type = "batch"
  group "g" {
    task "fails" {
      driver = "mock_driver"
      config {
        run_for       = "10ms"
        exit_code     = 3
        exit_err_msg  = "as asked"
        stdout_string = "hello\n"
        stdout_repeat = 2
        stderr_string = "oops"
        kill_after    = "1s"
      }
    }
    task "slow" {
      driver = "mock_driver"
      config {
        start_block_for         = "100ms"
        start_error             = "not yet"
        start_error_recoverable = true
        exec_command {
          run_for       = "1ms"
          stdout_string = "inner"
        }
      }
    }
  }
}
