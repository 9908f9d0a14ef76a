/* Operators and collections,
   over several lines. */
sum          = 1 + 2 * 3 - 4 / 2 % 3
compare      = 1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 == 1 && 1 != 2
logic        = !true || (false || true) && true
negative     = -7 % 3
fraction     = 1 / 3
big          = 100000000000000000000 + 1
scientific   = 1.5e-3
conditional  = 1 > 2 ? "a" : 3
chained      = false ? 1 : true ? 2 : 3
unlike       = true ? 1 : "a"
tuple        = [1, "a", true, null, [2], { k = "v" }]
tuple_lines  = [
  1,
  2, # two
  3,
]
object       = { a = 1, "b c" = 2, (upper("d")) = 3, "${"e"}" = 4, 5 = 6, true = 7 }
object_lines = {
  a : 1
  b = 2,
  # comment
  c = {
    d = [
      1
    ]
  }
}
numbers_key  = { 1.5 = "x" }
for_list     = [for x in [1, 2, 3] : x * x if x != 2]
for_index    = [for i, x in ["a", "b"] : "${i}-${x}"]
for_object   = { for k, v in { a = 1, b = 2 } : upper(k) => v + 1 }
for_group    = { for x in ["aa", "ab", "b"] : substr(x, 0, 1) => x... }
for_nested   = [for x in [1, 2] : [for y in [10, 20] : x + y]]
for_lines = [
  for x in ["a"] :
  x
  if x != ""
]
index        = [[1, 2], [3]][1][0]
attribute    = { a = { b = 5 } }.a.b
legacy       = ["x", "y"].1
splat        = [{ a = 1 }, { a = 2 }][*].a
splat_attr   = [{ a = { b = 1 } }].*.a.b
splat_single = { a = 1 }[*].a
splat_null   = null[*]
call         = max(1, [5, 3]...)
call_lines   = join(
  ",",
  ["a", "b"],
)
unknown      = attr.cpu.arch
unknown_idx  = attr["cpu.arch"][0].x
unknown_in   = [attr.a, "${attr.b}c", { d = attr.e }]
unknown_call = upper(attr.kernel.name)
compared     = "${attr.kernel.name}" == "linux"
paren        = (1 + (2))
paren_lines = (
  1 +
  2
)
nothing      = null
dashed-name  = foo-bar
under_score  = true
