job "collection-functions" {
  meta {
    flat     = join(",", flatten([["a"], ["b", ["c"]]]))
    unique   = join(",", distinct(["a", "a", "b"]))
    sorted   = join(",", sort(["b", "a"]))
    sliced   = join(",", slice(["a", "b", "c"], 1, 3))
    merged   = jsonencode(merge({ a = 1 }, { b = 2 }))
    zipped   = jsonencode(zipmap(["k"], ["v"]))
    keys     = join(",", keys({ z = 1, a = 2 }))
    values   = join(",", values({ z = "1", a = "2" }))
    found    = contains(["a"], "a")
    position = index(["a", "b"], 1)
    chosen   = coalesce("", "second")
    chunks   = jsonencode(chunklist([1, 2, 3], 2))
    compact  = join(",", compact(["a", "", "b"]))
    union    = join(",", setunion(["a"], ["b"]))
    product  = length(setproduct(["a", "b"], [1, 2]))
    element  = element(["a", "b"], 3)
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
