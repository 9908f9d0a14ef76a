job "encoding-functions" {
  meta {
    b64    = base64encode("hello")
    plain  = base64decode("aGVsbG8=")
    json   = jsondecode("{\"a\": [1, 2]}").a[1]
    yaml   = yamldecode("a: b").a
    csv    = csvdecode("a,b\n1,2")[0].b
    md5    = md5("x")
    sha1   = sha1("x")
    sha256 = sha256("x")
    url    = urlencode("a b&c")
    uuid   = uuidv5("dns", "example.org")
    subnet = cidrsubnet("10.0.0.0/8", 8, 2)
    host   = cidrhost("10.0.0.0/8", 5)
    date   = formatdate("YYYY-MM-DD", "2026-01-02T03:04:05Z")
    later  = timeadd("2026-01-02T03:04:05Z", "1h")
    tried  = try(local.nothing, "fallback")
    can    = can(parseint("zz", 10))
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
locals {
  nothing = null
}
