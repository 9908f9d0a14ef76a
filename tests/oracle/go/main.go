// Command oracle tells what Go's own HCL library makes of files, as JSON lines, for comparison with rove.jobspec.hcl.
//
//	oracle tree FILE...    acceptance, tree, positions and values of each file
//	oracle eval < LINES    each line is a JSON string that holds an expression; one JSON result a line
//	oracle format FILE...  canonical layout
//	oracle dynamic FILE... the file with its dynamic blocks worked out
//	oracle type FILE...    each "file" is a type, a line "===", and a value: the value made to fit the type
//
// A file name of "-" reads JSON lines {"name":..., "text":...} from standard input.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/ioutil"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	yaml "github.com/zclconf/go-cty-yaml"
)

var functions = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc,
	"coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc,
	"concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "csvdecode": stdlib.CSVDecodeFunc,
	"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
	"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatdate": stdlib.FormatDateFunc,
	"formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc, "join": stdlib.JoinFunc,
	"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc, "index": stdlib.IndexFunc,
	"length": stdlib.LengthFunc, "log": stdlib.LogFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc,
	"max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,
	"pow": stdlib.PowFunc, "range": stdlib.RangeFunc, "regex_replace": stdlib.RegexReplaceFunc,
	"replace": stdlib.ReplaceFunc, "reverse": stdlib.ReverseFunc, "setintersection": stdlib.SetIntersectionFunc,
	"setproduct": stdlib.SetProductFunc, "setunion": stdlib.SetUnionFunc, "signum": stdlib.SignumFunc,
	"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc,
	"strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "timeadd": stdlib.TimeAddFunc, "title": stdlib.TitleFunc,
	"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
	"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc,
	"zipmap": stdlib.ZipmapFunc, "yamldecode": yaml.YAMLDecodeFunc, "yamlencode": yaml.YAMLEncodeFunc,
	"try": tryfunc.TryFunc, "can": tryfunc.CanFunc, "convert": typeexpr.ConvertFunc,
}

// keep replaces references to names nobody defines by their own source text, as job files want it.
func keep(value reflect.Value, src []byte, bound map[string]bool) {
	switch value.Kind() {
	case reflect.Ptr:
		if !value.IsNil() {
			if loop, ok := value.Interface().(*hclsyntax.ForExpr); ok {
				inner := map[string]bool{loop.KeyVar: true, loop.ValVar: true}
				for name := range bound {
					inner[name] = true
				}
				elem := value.Elem()
				keep(elem.FieldByName("CollExpr"), src, bound)
				for _, name := range []string{"KeyExpr", "ValExpr", "CondExpr"} {
					keep(elem.FieldByName(name), src, inner)
				}
				return
			}
			if call, ok := value.Interface().(*hclsyntax.FunctionCallExpr); ok && call.Name == "convert" && len(call.Args) == 2 {
				keep(reflect.ValueOf(call.Args).Index(0), src, bound) // the other one is a type
				return
			}
			if _, ok := value.Interface().(*hclsyntax.AnonSymbolExpr); ok {
				return
			}
			keep(value.Elem(), src, bound)
		}
	case reflect.Interface:
		if value.IsNil() {
			return
		}
		if t, ok := value.Interface().(*hclsyntax.ScopeTraversalExpr); ok {
			root := t.Traversal.RootName()
			if !bound[root] && value.CanSet() {
				text := string(src[t.SrcRange.Start.Byte:t.SrcRange.End.Byte])
				value.Set(reflect.ValueOf(&hclsyntax.LiteralValueExpr{Val: cty.StringVal("${" + text + "}"), SrcRange: t.SrcRange}))
			}
			return
		}
		if key, ok := value.Interface().(*hclsyntax.ObjectConsKeyExpr); ok {
			if !key.ForceNonLiteral {
				if _, plain := key.Wrapped.(*hclsyntax.ScopeTraversalExpr); plain {
					return
				}
			}
		}
		keep(value.Elem(), src, bound)
	case reflect.Struct:
		switch value.Type().PkgPath() {
		case "github.com/hashicorp/hcl/v2/hclsyntax":
		default:
			return
		}
		for i := 0; i < value.NumField(); i++ {
			if value.Type().Field(i).PkgPath == "" {
				keep(value.Field(i), src, bound)
			}
		}
	case reflect.Slice:
		for i := 0; i < value.Len(); i++ {
			keep(value.Index(i), src, bound)
		}
	case reflect.Map:
		for _, k := range value.MapKeys() {
			keep(value.MapIndex(k), src, bound)
		}
	}
}

func plain(v cty.Value) interface{} {
	if !v.IsKnown() {
		return map[string]interface{}{"?": "unknown"}
	}
	if v.IsNull() {
		return nil
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		return v.AsString()
	case ty == cty.Number:
		return map[string]interface{}{"n": v.AsBigFloat().Text('f', -1)}
	case ty == cty.Bool:
		return v.True()
	case ty.IsCapsuleType():
		return map[string]interface{}{"?": "capsule"}
	}
	kind := "list"
	switch {
	case ty.IsTupleType():
		kind = "tuple"
	case ty.IsSetType():
		kind = "set"
	case ty.IsMapType():
		kind = "map"
	case ty.IsObjectType():
		kind = "object"
	}
	if ty.IsMapType() || ty.IsObjectType() {
		made := map[string]interface{}{}
		for it := v.ElementIterator(); it.Next(); {
			k, each := it.Element()
			made[k.AsString()] = plain(each)
		}
		return []interface{}{kind, made}
	}
	made := []interface{}{kind}
	for it := v.ElementIterator(); it.Next(); {
		_, each := it.Element()
		made = append(made, plain(each))
	}
	return made
}

func evaluate(expr hclsyntax.Expression, src []byte, ctx *hcl.EvalContext) (result interface{}, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			result, ok = "panic", false
		}
	}()
	holder := struct{ E hclsyntax.Expression }{expr}
	bound := map[string]bool{}
	for name := range ctx.Variables {
		bound[name] = true
	}
	keep2(&holder.E, src, bound)
	v, diags := holder.E.Value(ctx)
	if diags.HasErrors() {
		return diags.Error(), false
	}
	return plain(v), true
}

func keep2(target *hclsyntax.Expression, src []byte, bound map[string]bool) {
	keep(reflect.ValueOf(target).Elem(), src, bound)
}

func pos(p hcl.Pos) []int { return []int{p.Line, p.Column, p.Byte} }

func tree(body *hclsyntax.Body, src []byte, ctx *hcl.EvalContext) interface{} {
	attrs := map[string]interface{}{}
	for name, attr := range body.Attributes {
		value, ok := evaluate(attr.Expr, src, ctx)
		if !ok {
			value = "error"
		}
		attrs[name] = []interface{}{ok, value, pos(attr.NameRange.Start), pos(attr.SrcRange.Start), pos(attr.SrcRange.End)}
	}
	blocks := []interface{}{}
	for _, block := range body.Blocks {
		labels := []interface{}{}
		for i, l := range block.Labels {
			labels = append(labels, []interface{}{l, pos(block.LabelRanges[i].Start), pos(block.LabelRanges[i].End)})
		}
		blocks = append(blocks, []interface{}{block.Type, labels, pos(block.TypeRange.Start), tree(block.Body, src, ctx)})
	}
	return []interface{}{attrs, blocks}
}

// typed converts a value to a type with optional attributes and their defaults: "type\n===\nvalue".
func typed(src []byte, ctx *hcl.EvalContext) interface{} {
	parts := strings.SplitN(string(src), "\n===\n", 2)
	constraint, diags := hclsyntax.ParseExpression([]byte(parts[0]), "t", hcl.InitialPos)
	if diags.HasErrors() {
		return "error"
	}
	expr, diags := hclsyntax.ParseExpression([]byte(parts[1]), "v", hcl.InitialPos)
	if diags.HasErrors() {
		return "error"
	}
	ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(constraint)
	if diags.HasErrors() {
		return "error"
	}
	v, diags := expr.Value(ctx)
	if diags.HasErrors() {
		return "error"
	}
	if defaults != nil && !v.IsNull() {
		v = defaults.Apply(v)
	}
	v, err := convert.Convert(v, ty)
	if err != nil {
		return "error"
	}
	return plain(v)
}

// expanded reads a body with `dynamic` blocks worked out: arguments x and y, blocks b, l (one label) and job.
func expanded(body hcl.Body, ctx *hcl.EvalContext) (interface{}, bool) {
	content, diags := body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "x"}, {Name: "y"}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "b"}, {Type: "l", LabelNames: []string{"name"}}, {Type: "job"}},
	})
	if diags.HasErrors() {
		return diags.Error(), false
	}
	attrs := map[string]interface{}{}
	for name, attr := range content.Attributes {
		v, diags := attr.Expr.Value(ctx)
		if diags.HasErrors() {
			return diags.Error(), false
		}
		attrs[name] = plain(v)
	}
	blocks := []interface{}{}
	for _, block := range content.Blocks {
		inner, ok := expanded(block.Body, ctx)
		if !ok {
			return inner, false
		}
		blocks = append(blocks, []interface{}{block.Type, append([]string{}, block.Labels...), inner})
	}
	return []interface{}{attrs, blocks}, true
}

func names(m map[string]interface{}) []string {
	var made []string
	for k := range m {
		made = append(made, k)
	}
	sort.Strings(made)
	return made
}

type input struct {
	Name string `json:"name"`
	Text string `json:"text"`
	B64  string `json:"b64"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	ctx := &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{}}
	ctx.Variables["var"] = cty.ObjectVal(map[string]cty.Value{
		"s": cty.StringVal("text"), "n": cty.NumberIntVal(3), "b": cty.True, "z": cty.NullVal(cty.DynamicPseudoType),
		"l":  cty.ListVal([]cty.Value{cty.StringVal("a"), cty.StringVal("b")}),
		"nl": cty.ListVal([]cty.Value{cty.NumberIntVal(1), cty.NumberIntVal(2)}),
		"m":  cty.MapVal(map[string]cty.Value{"x": cty.StringVal("1"), "y": cty.StringVal("2")}),
		"st": cty.SetVal([]cty.Value{cty.StringVal("q"), cty.StringVal("p")}),
		"t":  cty.TupleVal([]cty.Value{cty.StringVal("a"), cty.NumberIntVal(1), cty.True}),
		"o":  cty.ObjectVal(map[string]cty.Value{"k": cty.StringVal("v"), "i": cty.NumberIntVal(7)}),
		"el": cty.ListValEmpty(cty.String),
		"lo": cty.ListVal([]cty.Value{
			cty.ObjectVal(map[string]cty.Value{"id": cty.NumberIntVal(1)}),
			cty.ObjectVal(map[string]cty.Value{"id": cty.NumberIntVal(2)})}),
	})
	_ = ctyjson.Marshal
	mode := os.Args[1]
	if mode == "eval" {
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(make([]byte, 1<<20), 1<<26)
		for scanner.Scan() {
			var text string
			if err := json.Unmarshal(scanner.Bytes(), &text); err != nil {
				panic(err)
			}
			expr, diags := hclsyntax.ParseExpression([]byte(text), "e", hcl.InitialPos)
			if diags.HasErrors() {
				out.Encode([]interface{}{"syntax", diags.Error()})
				continue
			}
			value, ok := evaluate(expr, []byte(text), ctx)
			if ok {
				out.Encode([]interface{}{"ok", value})
			} else {
				out.Encode([]interface{}{"error", value})
			}
		}
		return
	}
	handle := func(name string, src []byte) {
		defer func() {
			if r := recover(); r != nil {
				out.Encode([]interface{}{name, "panic", fmt.Sprint(r)})
			}
		}()
		if mode == "format" {
			out.Encode([]interface{}{name, string(hclwrite.Format(src))})
			return
		}
		if mode == "type" {
			out.Encode([]interface{}{name, typed(src, ctx)})
			return
		}
		file, diags := hclsyntax.ParseConfig(src, "f", hcl.InitialPos)
		if !diags.HasErrors() && mode == "dynamic" {
			made, ok := expanded(dynblock.Expand(file.Body, ctx), ctx)
			if !ok {
				made = "error"
			}
			out.Encode([]interface{}{name, made})
			return
		}
		if diags.HasErrors() {
			out.Encode([]interface{}{name, "invalid", strings.SplitN(diags.Error(), "\n", 2)[0]})
			return
		}
		out.Encode([]interface{}{name, "valid", tree(file.Body.(*hclsyntax.Body), src, ctx)})
	}
	for _, name := range os.Args[2:] {
		if name != "-" {
			src, err := ioutil.ReadFile(name)
			if err != nil {
				panic(err)
			}
			handle(name, src)
			continue
		}
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(make([]byte, 1<<20), 1<<27)
		for scanner.Scan() {
			var in input
			if err := json.Unmarshal(scanner.Bytes(), &in); err != nil {
				panic(err)
			}
			src := []byte(in.Text)
			if in.B64 != "" {
				src, _ = base64.StdEncoding.DecodeString(in.B64)
			}
			handle(in.Name, src)
		}
	}
}
