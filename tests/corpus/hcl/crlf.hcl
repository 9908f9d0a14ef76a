a = 1
b {
  c = <<EOT
x
  y
EOT
  d = [
 1,
 2 ]
}
e = <<-EOT
    x
      y
  EOT
