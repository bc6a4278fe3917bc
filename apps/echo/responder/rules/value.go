package rules

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// form is what a value looks like.
type form uint8

const (
	wrong   form = iota // it has been reported
	null                // nothing, or null
	boolean             // true or false
	number
	text
	loose // the text of a setting, which may be any scalar
	list
	mapping
)

var forms = [...]string{null: "nothing", boolean: "a boolean", number: "a number", text: "a text", loose: "a text", list: "a list", mapping: "a mapping"}

// value is one value of a file or a setting.
type value struct {
	at     place
	form   form
	text   string   // of a scalar
	quotes int      // characters before the text
	node   ast.Node // of a list or a mapping
	list   []value  // of a list that is not from a file
}

// String returns the value for an error.
func (v value) String() string {
	switch v.form {
	case null, list, mapping:
		return forms[v.form]
	case boolean, number:
		return v.text
	}
	return quote(v.text)
}

// field is an entry of a mapping.
type field struct {
	name string
	at   place
	value
}

// named is what a mapping is to have.
type named struct {
	what  string   // in errors: "" for the file, "rule" or the key
	first []string // the fields that a text may begin with, without their names
	all   []string // names
}

// said are the fields that are there.
type said map[string]value

// fields reads a mapping, or a text of the same meaning: fields as name=value, with
// commas between, of which the first need no name. It returns false if there are no fields.
func (r *reader) fields(v value, n named) (said, bool) {
	var fields []field
	switch v.form {
	case mapping:
		fields = r.entries(v)
	case text, loose, number:
		fields = r.split(v, n)
	case wrong:
		return nil, false
	default:
		r.fault(v.at, "%sit is %s; write %s", n.prefix(), forms[v.form], n.example())
		return nil, false
	}
	out := make(said, len(fields))
	for _, f := range fields {
		known := slices.Contains(n.all, f.name)
		_, twice := out[f.name]
		switch {
		case !known:
			if near := nearest(f.name, n.all); near != "" {
				r.fault(f.at, "%s%s is unknown; did you mean %s?", n.prefix(), quote(f.name), near)
			} else {
				r.fault(f.at, "%s%s is unknown; there are %s", n.prefix(), quote(f.name), strings.Join(n.all, ", "))
			}
		case twice:
			r.fault(f.at, "%s%s is there twice; write it once", n.prefix(), f.name)
		default:
			out[f.name] = f.value
		}
	}
	return out, true
}

func (n named) prefix() string {
	if n.what == "" {
		return ""
	}
	return n.what + ": "
}

func (n named) example() string {
	return "a mapping of " + strings.Join(n.all, ", ")
}

// split takes a text apart into fields.
func (r *reader) split(v value, n named) (fields []field) {
	at := v.at.right(v.quotes)
	for i, part := range strings.Split(v.text, ",") {
		name, content, hasName := strings.Cut(part, "=")
		if !hasName {
			content = part
		}
		content = strings.TrimLeft(content, " ")
		f := field{name: strings.TrimSpace(name), at: at, value: value{
			at:   at.right(utf8.RuneCountInString(part) - utf8.RuneCountInString(content)),
			form: loose,
			text: strings.TrimRight(content, " "),
		}}
		at = at.right(utf8.RuneCountInString(part) + 1)
		if !hasName {
			if i >= len(n.first) {
				r.fault(f.value.at, "%s%s has no name; write name=value, with one of %s", n.prefix(), f.value, strings.Join(n.all, ", "))
				continue
			}
			f.name = n.first[i]
		}
		fields = append(fields, f)
	}
	return fields
}
