# Texts, heredocs and what stands in them.
plain        = "text"
empty        = ""
escapes      = "tab\tquote\"back\\slash\nline\r\u00e9\U0001F600"
dollars      = "$ $$ % %% $1 100%"
escaped      = "$${not} %%{not} $$${x}"
placeholder  = "{{ deployments/webserver_version }} {{ key \"a/b\" }}"
node         = "${attr.kernel.name}"
mixed        = "port ${NOMAD_PORT_http} on ${node.unique.name} rack ${meta.rack} ${env["HOME"]}"
nested       = "a${"b${"c${1 + 1}"}"}"
kept_type    = "${1 + 1}"
kept_list    = "${[1, 2]}"
trim         = "a   ${~ "b" ~}   c"
directive    = "%{ if true }yes%{ else }no%{ endif }"
trimmed      = "x %{~ if false ~} yes %{~ else ~} no %{~ endif ~} y"
loop         = "%{ for i, x in ["a", "b"] }${i}${x} %{ endfor }"
pairs        = "%{ for k, v in { b = 2, a = 1 } ~} ${k}=${v} %{~ endfor }"
unicode      = "日本語 é ñ 👍🏽 🇩🇪"
after_uni    = "日本" # comment
decomposed   = "é"
heredoc = <<EOT
first
  second ${1 + 1}
	tab "quotes" \n not an escape
$${literal} %%{literal} $ % $$ {
EOT
flush = <<-EOT
    four
      six

    four again
    EOT
flush_odd = <<-EOT
    four
${"zero"}
    four
  EOT
flush_blank = <<-END
	tab
	  more
   
	tab
END
flush_interp = <<-EOT
    ${"starts with a value"}
      text
    EOT
empty_heredoc = <<EOT
EOT
empty_flush = <<-EOT
    EOT
conditional_heredoc = <<-EOT
  %{ if true ~}
  inside
  %{ endif ~}
  after
  EOT
loop_heredoc = <<-EOT
  %{ for x in ["a", "b"] ~}
  server ${x};
  %{ endfor ~}
  end
EOT
marker_inside = <<EOT
 EOTX
xEOT
EOT x
 EOT
dashes = <<EOF-2
x
EOF-2
trailing_blanks = <<EOT
x
EOT   
list_of_docs = [<<A
one
A
  , <<-B
  two
  B
]
call = upper(<<EOT
shout
EOT
)
script = <<-EOF
	#!/bin/sh
	set -eu
	for i in $(seq 1 10); do echo "$i $HOME $${HOME}"; done
	if [ "$1" = "x" ]; then exit 1; fi
EOF
