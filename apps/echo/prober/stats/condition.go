package stats

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/go-multierror"
)

// Conditions are what a script does not want to see. It fails if one of them holds.
type Conditions []Condition

// Condition compares one metric of a Summary with a value. ParseConditions makes
// it; the zero value never holds.
type Condition struct {
	metric   string
	operator string
	value    string // as it was written
	bound    quantity
}

// Violation is a condition that holds, or that cannot be judged.
type Violation struct {
	Condition Condition
	// Actual is the metric's value, such as "2.5%" or "23.4ms"; "" if there is
	// none.
	Actual string
	// Reason says why there is none, such as "no replies".
	Reason string
}

// String returns the condition with the actual value in it, such as "loss 2.5% > 1%",
// or with what is missing, such as "p99 > 20ms: no replies".
func (v Violation) String() string {
	c := v.Condition
	if v.Reason != "" {
		return fmt.Sprintf("%s %s %s: %s", c.metric, c.operator, c.value, v.Reason)
	}
	return fmt.Sprintf("%s %s %s %s", c.metric, v.Actual, c.operator, c.value)
}

// String returns the condition as ParseConditions reads it, such as "loss>1%".
func (c Condition) String() string { return c.metric + c.operator + c.value }

// String returns the conditions as ParseConditions reads them.
func (cs Conditions) String() string {
	texts := make([]string, len(cs))
	for i, c := range cs {
		texts[i] = c.String()
	}
	return strings.Join(texts, ",")
}

// Check returns the conditions that hold, in the order they were written. One that
// cannot be judged is among them, with the reason, so that nothing passes for want
// of data: a time when no answer was Received or none has a time, loss when no probe
// is Judged, unanswered when none has Finished. Counts can always be judged.
func (cs Conditions) Check(s *Summary) []Violation {
	var found []Violation
	for _, c := range cs {
		m, known := metricOf(c.metric)
		if !known {
			continue
		}
		actual, missing := m.of(s)
		if missing != "" {
			found = append(found, Violation{Condition: c, Reason: missing})
		} else if operators[c.operator](actual.compare(c.bound)) {
			found = append(found, Violation{Condition: c, Actual: m.kind.format(actual, c.bound)})
		}
	}
	return found
}

// ParseConditions parses conditions separated by commas, such as
//
//	loss>1%, p99>20ms, duplicates>0
//
// Each is a metric, an operator and a value; spaces may surround them. The operators
// are > >= < <= == !=. The metrics, which Metrics lists, are of three kinds:
//
//   - loss and unanswered, with a share from 0% to 100%;
//   - min, avg, max, mdev, jitter, p50, p90, p99 and p99.9, with a time as
//     time.ParseDuration reads it, such as 20ms;
//   - sent, received, and the CountKey of each Outcome, with a whole number.
//
// There must be at least one condition. The error tells everything that is wrong,
// each with the position of its first character, counted from 1: one fault as
// itself, several as a *multierror.Error.
func ParseConditions(s string) (Conditions, error) {
	var cs Conditions
	var errs *multierror.Error
	position := 1
	for part := range strings.SplitSeq(s, ",") {
		text := strings.TrimLeft(part, blanks)
		at := position + utf8.RuneCountInString(part) - utf8.RuneCountInString(text)
		text = strings.TrimRight(text, blanks)
		c, err := parseCondition(text)
		if err != nil {
			errs = multierror.Append(errs, fmt.Errorf("condition %q at character %d: %w", text, at, err))
		}
		cs = append(cs, c)
		position += utf8.RuneCountInString(part) + 1
	}
	switch {
	case errs == nil:
		return cs, nil
	case len(errs.Errors) == 1:
		return nil, errs.Errors[0]
	}
	return nil, errs
}

const blanks = " \t"

func isBlank(r rune) bool { return strings.ContainsRune(blanks, r) }

// operators say for each operator whether it holds, given the sign of the
// difference between the actual value and the bound.
var operators = map[string]func(sign int) bool{
	">":  func(sign int) bool { return sign > 0 },
	">=": func(sign int) bool { return sign >= 0 },
	"<":  func(sign int) bool { return sign < 0 },
	"<=": func(sign int) bool { return sign <= 0 },
	"==": func(sign int) bool { return sign == 0 },
	"!=": func(sign int) bool { return sign != 0 },
}

// meant are the operators for what other languages write.
var meant = map[string]string{"=": "==", "=>": ">=", "=<": "<=", "!": "!=", "<>": "!="}

// parseCondition parses one condition without blanks around it.
func parseCondition(s string) (Condition, error) {
	const symbols = "<>=!"
	if s == "" {
		return Condition{}, errors.New("it is empty; write a metric, an operator and a value, such as loss>1%")
	}
	end := strings.IndexAny(s, symbols)
	if end < 0 { // no operator; the first word is the metric
		end = len(strings.FieldsFunc(s, isBlank)[0])
	}
	name, rest := strings.TrimRight(s[:end], blanks), s[end:]
	m, known := metricOf(name)
	if !known {
		return Condition{}, fmt.Errorf("metric %q is unknown; there are %s", name, strings.Join(Metrics(), ", "))
	}
	value := strings.TrimLeft(rest, symbols)
	operator := rest[:len(rest)-len(value)]
	value = strings.TrimLeft(value, blanks)
	switch {
	case operator == "":
		return Condition{}, fmt.Errorf("an operator is missing after %s; there are > >= < <= == !=", name)
	case operators[operator] == nil && meant[operator] != "":
		return Condition{}, fmt.Errorf("operator %q is unknown after %s; write %s", operator, name, meant[operator])
	case operators[operator] == nil:
		return Condition{}, fmt.Errorf("operator %q is unknown after %s; there are > >= < <= == !=", operator, name)
	}
	bound, err := m.kind.parse(value)
	if err != nil {
		return Condition{}, fmt.Errorf("%s: %w, such as %s%s%s", name, err, name, operator, m.kind.example(value))
	}
	return Condition{name, operator, value, bound}, nil
}
