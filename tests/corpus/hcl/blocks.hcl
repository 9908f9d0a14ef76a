// Blocks of all shapes.
job "web" "extra" label {
  a = 1
}

empty {}
empty_labelled "x" {}
empty_lines {
}
one_line { a = 1 }
one_line_labelled "x" "y\tz" { a = [1, 2] }
quoted "with \"quotes\" and \u00e9" {
}
deep {
  deeper {
    deepest "l" {
      x = 1 # end
    } // after
  } /* after */
}
same { a = 1 }
same { a = 2 }
comments { # here
  # there
  a = 1 /* inside */ + /* again */ 2 # end
  /* before */ b = 2
  c /* x */ = /* y */ 3 /* z */
}
dynamic "thing" {
  for_each = { a = 1 }
  labels   = [thing.key]
  content {
    value = thing.value
  }
}
	tabs	{
		a	=	1
	}
日本 {
  é = "ü"
  naïve-name "ß" {}
}
