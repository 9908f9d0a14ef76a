job "layout"{
type="service"
    group   "g"   {
count=1
        task "t"{
driver="raw_exec"
            config{
command="x"
args=["a","b"  ,
"c"]
}
 }
  }
}
