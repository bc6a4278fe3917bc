package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-multierror"
)

// Fault is one thing that is wrong in a file or with a setting.
type Fault struct {
	File         string // as it was given to Parse; "" for a setting
	Line, Column int    // from 1; the column counts characters
	Setting      string // its key; "" for a file
	Text         string // what is wrong, and what would be right
}

// Error returns the fault with its place, such as
//
//	rules.yaml:5:12: loss: "150%" is more than 100%; write a probability such as 1% or 0.01
//	--loss: "150%" is more than 100%; write a probability such as 1% or 0.01
func (f *Fault) Error() string {
	if f.Setting != "" {
		return "--" + f.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Text)
}

// place is where something was written.
type place struct {
	line, column int
	setting      string
}

// right returns the place n characters further to the right.
func (p place) right(n int) place {
	p.column += n
	return p
}

// reader reads values and gathers what is wrong with them.
type reader struct {
	file    string
	faults  []*Fault
	pairs   int  // of all rules so far
	tooMany bool // has been reported
}

func (r *reader) fault(at place, format string, args ...any) {
	r.faults = append(r.faults, &Fault{r.file, at.line, at.column, at.setting, fmt.Sprintf(format, args...)})
}

// err returns all faults by place, as a *multierror.Error; one as itself, a *Fault.
func (r *reader) err() error {
	switch len(r.faults) {
	case 0:
		return nil
	case 1:
		return r.faults[0]
	}
	slices.SortStableFunc(r.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := &multierror.Error{Errors: make([]error, len(r.faults))}
	for i, f := range r.faults {
		errs.Errors[i] = f
	}
	return errs
}

// quote quotes a text for an error, the begin of it if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// nearest returns the name that was probably meant, or "".
func nearest(s string, names []string) string {
	best, at := 3, ""
	if len(s) > 40 {
		return ""
	}
	for _, name := range names {
		if d := distance(s, name); d < best && d < utf8.RuneCountInString(name) {
			best, at = d, name
		}
	}
	return at
}

// distance returns how many letters are to be changed, added, taken away or swapped
// with the next to make b of a, whatever their case (Damerau and Levenshtein, optimal
// string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	var before, last, row []int
	last = make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row = make([]int, len(t)+1)
		row[0] = i + 1
		for j := range t {
			change := 1
			if unicode.ToLower(s[i]) == unicode.ToLower(t[j]) {
				change = 0
			}
			row[j+1] = min(last[j]+change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}
