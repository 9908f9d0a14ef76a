job "text-functions" {
  meta {
    upper     = upper("abc")
    title     = title("hello world")
    trim      = trimspace("  x  ")
    cut       = substr("hello", 1, 3)
    replaced  = replace("a-b-c", "-", ".")
    regex     = regex_replace("ab12", "[0-9]+", "#")
    joined    = join("/", ["a", "b"])
    split     = split(",", "x,y,z")[1]
    formatted = format("%05.2f|%-4s|%d", 3.14159, "ab", 42)
    list      = join(" ", formatlist("%s!", ["a", "b"]))
    chomped   = chomp("line\n")
    indented  = indent(2, "a\nb")
    reversed  = strrev("abc")
    prefix    = trimprefix("v1.2", "v")
    suffix    = trimsuffix("a.txt", ".txt")
    length    = strlen("größe")
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
