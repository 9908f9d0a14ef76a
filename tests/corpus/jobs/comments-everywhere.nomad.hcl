# hash
// slashes
/* block
   of lines */
job /* inside */ "comments" { # after the brace
  // nothing
  type = "service" # at the end
  /* before */ priority = 50 // after
  group "g" {
    # only a comment
    task "t" {
      driver = "raw_exec" /* trailing */
      config {
        command = "x" # c
        args = [ # open
          "a",   // first
          /* second */ "b",
        ]
      }
    }
  }
}
