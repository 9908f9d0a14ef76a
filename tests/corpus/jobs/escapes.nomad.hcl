job "escapes" {
  meta {
    quotes  = "say \"hi\""
    slash   = "C:\\temp"
    unicode = "\u00fc\U0001F600"
    control = "a\tb\nc\rd"
    dollar  = "$${not.a.name} costs $5"
    percent = "%%{ if } 100%"
    both    = "$${a}${NOMAD_JOB_ID}$${b}"
    twice   = "$$$${x}"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
