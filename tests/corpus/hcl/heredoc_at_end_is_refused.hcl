x = <<EOT
a
EOT