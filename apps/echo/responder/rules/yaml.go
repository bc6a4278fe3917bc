package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file, so that one that is made to take long does not.
const (
	maxFile  = 16 << 20 // bytes
	maxDepth = 16       // lists and mappings in one another
	maxKeys  = 100      // in a mapping: the parser takes their square
	maxSigns = 2 << 20  // such as brackets, which words are between; some 500 bytes each
)

// document reads the one document of a YAML file. If it returns false, the faults say
// why.
func (r *reader) document(data []byte) (v value, ok bool) {
	at := place{line: 1, column: 1}
	if len(data) > maxFile {
		r.fault(at, "the file has %d bytes; at most %d are read", len(data), maxFile)
		return v, false
	}
	if !utf8.Valid(data) {
		line, column := 1, 1
		for len(data) > 0 {
			c, n := utf8.DecodeRune(data)
			if c == utf8.RuneError && n == 1 {
				break
			}
			if column++; c == '\n' {
				line, column = line+1, 1
			}
			data = data[n:]
		}
		r.fault(place{line: line, column: column}, "there are bytes that are no UTF-8; write the file in UTF-8")
		return v, false
	}
	source := strings.TrimPrefix(string(data), "\ufeff")
	if i := strings.IndexByte(source, 0); i >= 0 {
		r.fault(place{line: 1 + strings.Count(source[:i], "\n"), column: 1}, "there is a zero byte; is it a text?")
		return v, false
	}
	// The parser is given texts from outside that may be made to bring it down.
	defer func() {
		if failure := recover(); failure != nil {
			r.fault(at, "the YAML parser failed: %v", failure)
			ok = false
		}
	}()
	tokens, ok := r.tokens(source)
	if !ok {
		return v, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var e yaml.Error
		if errors.As(err, &e) {
			if t := e.GetToken(); t != nil {
				at = placeOf(t)
			}
			err = errors.New(e.GetMessage())
		}
		if strings.Contains(err.Error(), "mapping value") {
			err = fmt.Errorf("%w; put what ends in a colon, such as fd00::, in quotes", err)
		}
		r.fault(at, "it is no YAML: %v", err)
		return v, false
	}
	var body ast.Node
	for _, d := range file.Docs {
		switch d.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.DirectiveNode:
			continue
		}
		if body != nil {
			r.fault(placeOf(d.Body.GetToken()), "there is a second document; write one")
			return v, false
		}
		body = d.Body
	}
	if body == nil {
		r.fault(at, "there is nothing in the file; write version: 1 and rules")
		return v, false
	}
	return r.convert(body), true
}

// tokens divides a text into words and signs, unless there is more than the parser
// can take.
func (r *reader) tokens(source string) (token.Tokens, bool) {
	if line, ok := countSigns(source); !ok {
		r.fault(place{line: line, column: 1}, "there are more than %d signs and words up to here; write larger prefixes", maxSigns)
		return nil, false
	}
	tokens := lexer.Tokenize(source)
	var l levels
	for _, t := range tokens {
		if reason := l.add(t); reason != "" {
			r.fault(placeOf(t), "%s; rules need less", reason)
			return nil, false
		}
	}
	return tokens, true
}

// countSigns reports whether there are at most maxSigns, and if not, up to which line.
// It counts some that are part of a text.
func countSigns(source string) (line int, ok bool) {
	n := 0
	line = 1
	for i := range len(source) {
		switch c := source[i]; c {
		case '\n':
			line++
			n++
		case '[', ']', '{', '}', ',', '"', '\'', '#', '!', '&', '*', '|', '>', '\t':
			n++
		case ':', '-', '?':
			if i+1 == len(source) || strings.IndexByte(" \t\r\n[]{},", source[i+1]) >= 0 {
				n++
			}
		}
		if n > maxSigns {
			return line, false
		}
	}
	return line, true
}

// levels are the lists and mappings around a token, roughly, as they are known
// before parsing.
type levels []level

type level struct {
	column int // of its entries; 0 in brackets
	keys   int
}

// add takes the next token and says what is too much, or "".
func (l *levels) add(t *token.Token) string {
	open := *l
	defer func() { *l = open }()
	inBrackets := len(open) > 0 && open[len(open)-1].column == 0
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		open = append(open, level{})
	case token.SequenceEndType, token.MappingEndType:
		if inBrackets {
			open = open[:len(open)-1]
		}
	case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
		if !inBrackets {
			column := t.Position.Column
			if t.Type == token.MappingValueType && t.Prev != nil && t.Prev.Position.Line == t.Position.Line {
				column = t.Prev.Position.Column
			}
			for len(open) > 0 && open[len(open)-1].column > column {
				open = open[:len(open)-1]
			}
			if len(open) == 0 || open[len(open)-1].column < column {
				open = append(open, level{column: column})
			}
		}
		if t.Type != token.SequenceEntryType {
			top := &open[len(open)-1]
			if top.keys++; top.keys > maxKeys {
				return fmt.Sprintf("a mapping has more than %d keys", maxKeys)
			}
		}
	}
	if len(open) > maxDepth {
		return fmt.Sprintf("lists and mappings are more than %d deep in one another", maxDepth)
	}
	return ""
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{line: 1, column: 1}
	}
	return place{line: t.Position.Line, column: t.Position.Column}
}

// convert returns the value of a node. Lists and mappings are converted when they are
// needed.
func (r *reader) convert(n ast.Node) value {
	if n == nil {
		return value{at: place{line: 1, column: 1}, form: null}
	}
	t := n.GetToken()
	v := value{at: placeOf(t), node: n}
	if t != nil {
		v.text = t.Value
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		v.form = mapping
		if !n.IsFlowStyle && len(n.Values) > 0 {
			v.at = placeOf(n.Values[0].Key.GetToken())
		} else if n.Start != nil {
			v.at = placeOf(n.Start)
		}
	case *ast.MappingValueNode:
		v.form = mapping
		v.at = placeOf(n.Key.GetToken())
	case *ast.SequenceNode:
		v.form = list
	case *ast.StringNode:
		v.form, v.text = text, n.Value
		if t.Type != token.StringType {
			v.quotes = 1
		} else if isDigits(n.Value) { // more than fit the parser's numbers
			v.form = number
		}
	case *ast.LiteralNode:
		v.form = text
		if n.Value != nil {
			v.text = n.Value.Value
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		v.form = number
	case *ast.BoolNode:
		v.form = boolean
	case *ast.NullNode:
		v.form = null
	case *ast.AnchorNode:
		r.fault(v.at, "an anchor is not read; write the value alone")
		return r.convert(n.Value)
	case *ast.AliasNode:
		r.fault(v.at, "an alias is not read; write the value again")
	case *ast.TagNode:
		r.fault(v.at, "a tag is not read; write the value alone")
	default:
		r.fault(v.at, "%s is not read; write a value", strings.ToLower(n.Type().String()))
	}
	return v
}

// isDigits tells whether there are digits and nothing else, but for a sign.
func isDigits(s string) bool {
	digits := strings.TrimLeft(s, "+-")
	return digits != "" && len(s)-len(digits) < 2 && strings.Trim(digits, "0123456789") == ""
}

// elements returns the elements of a list.
func (r *reader) elements(v value) []value {
	if v.node == nil {
		return v.list
	}
	s := v.node.(*ast.SequenceNode)
	out := make([]value, len(s.Values))
	for i, n := range s.Values {
		out[i] = r.convert(n)
	}
	return out
}

// entries returns the entries of a mapping.
func (r *reader) entries(v value) []field {
	var nodes []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		nodes = n.Values
	case *ast.MappingValueNode:
		nodes = []*ast.MappingValueNode{n}
	}
	var out []field
	for _, n := range nodes {
		at := placeOf(n.Key.GetToken())
		key, ok := n.Key.(*ast.StringNode)
		if !ok {
			r.fault(at, "the key %s is no text; write a plain one", quote(n.Key.GetToken().Value))
			continue
		}
		f := field{name: key.Value, at: at}
		f.value = r.convert(n.Value)
		if f.value.form == null {
			f.value.at = at
		}
		out = append(out, f)
	}
	return out
}
