package bench

import (
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// maxPipes have as many descriptors as Linux gives a process at the most (fs.nr_open).
const maxPipes = 1 << 29

// number is a flag from 1 on.
type number struct{ n, max int }

func numberFlag(name string, value, max int, usage string) *int {
	f := &number{value, max}
	flag.Var(f, name, usage)
	return &f.n
}

func (f *number) String() string { return strconv.Itoa(f.n) }

func (f *number) Set(text string) (err error) {
	f.n, err = parseNumber(text, f.max)
	return err
}

func parseNumber(text string, max int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > max {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", text, max)
	}
	return n, nil
}

// list is a flag of numbers, "1,100".
type list struct {
	numbers []int
	max     int
}

func listFlag(name, numbers string, max int, usage string) *[]int {
	l := &list{max: max}
	if err := l.Set(numbers); err != nil {
		panic(err)
	}
	flag.Var(l, name, usage)
	return &l.numbers
}

func (l *list) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(l.numbers), " ", ","), "[]")
}

func (l *list) Set(text string) error {
	l.numbers = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := parseNumber(part, l.max)
		if err != nil {
			return err
		}
		l.numbers = append(l.numbers, n)
	}
	return nil
}

func TestNumbersOfFlags(t *testing.T) {
	for text, want := range map[string]string{
		"1": "1", "100": "100", "7,1,100": "7,1,100",
		"":      `"" is not a number from 1 to 100`,
		"0":     `"0" is not a number from 1 to 100`,
		"-1":    `"-1" is not a number from 1 to 100`,
		"101":   `"101" is not a number from 1 to 100`,
		"x":     `"x" is not a number from 1 to 100`,
		"1,,2":  `"" is not a number from 1 to 100`,
		"2,1.5": `"1.5" is not a number from 1 to 100`,
		"1, 2":  `" 2" is not a number from 1 to 100`,
	} {
		l := list{max: 100}
		got := ""
		if err := l.Set(text); err != nil {
			got = err.Error()
		} else {
			got = l.String()
		}
		if got != want {
			t.Errorf("list %q: %s; want %s", text, got, want)
		}
		n := number{max: 100}
		if err := n.Set(text); (err == nil) != (want == text && !strings.Contains(text, ",")) || err == nil && n.String() != want {
			t.Errorf("number %q: %v, %v", text, n.n, err)
		}
	}
	if _, err := parseNumber(strconv.Itoa(math.MaxInt)+"0", math.MaxInt); err == nil {
		t.Error("a number that no int holds was taken")
	}
}
