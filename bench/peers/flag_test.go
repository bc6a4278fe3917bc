package peers

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Flags are read when the tests start, so that a bad one ends them at once.

func numberFlag(name string, value, least, most int, usage string) *int {
	usage = fmt.Sprintf("%s, from %d to %d (default %d)", usage, least, most, value)
	flag.Func(name, usage, func(text string) (err error) {
		value, err = number(text, least, most)
		return err
	})
	return &value
}

// numbersFlag is a flag of numbers separated by commas.
func numbersFlag(name, defaults string, least, most int, usage string) *[]int {
	values, err := numbers(defaults, least, most)
	if err != nil {
		panic(err)
	}
	usage = fmt.Sprintf("%s, from %d to %d, separated by commas (default %s)", usage, least, most, defaults)
	flag.Func(name, usage, func(text string) (err error) {
		values, err = numbers(text, least, most)
		return err
	})
	return &values
}

// secondsFlag is a flag of whole seconds.
func secondsFlag(name string, value, most time.Duration, usage string) *time.Duration {
	usage = fmt.Sprintf("%s, in whole seconds up to %v (default %v)", usage, most, value)
	flag.Func(name, usage, func(text string) (err error) {
		value, err = seconds(text, most)
		return err
	})
	return &value
}

func number(text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: want a number from %d to %d", text, least, most)
	}
	return n, nil
}

func numbers(text string, least, most int) (values []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := number(part, least, most)
		if err != nil {
			return nil, err
		}
		values = append(values, n)
	}
	return values, nil
}

func seconds(text string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > most || d%time.Second != 0 {
		return 0, fmt.Errorf("%q: want whole seconds such as 10s, up to %v", text, most)
	}
	return d, nil
}

func TestFlags(t *testing.T) {
	for text, want := range map[string][]int{"2": {2}, "100": {100}, "7,2,100": {7, 2, 100},
		"": nil, "1": nil, "101": nil, "x": nil, "7,": nil, "7,x": nil, "7, 8": nil, "4611686018427387904": nil, "99999999999999999999": nil} {
		got, err := numbers(text, 2, 100)
		if !slices.Equal(got, want) || want == nil && (err == nil || !strings.HasSuffix(err.Error(), ": want a number from 2 to 100")) {
			t.Errorf("numbers %q: %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"1s": time.Second, "1m": time.Minute,
		"": 0, "10": 0, "0s": 0, "-1s": 0, "1500ms": 0, "61s": 0} {
		got, err := seconds(text, time.Minute)
		if got != want || want == 0 && (err == nil || !strings.HasSuffix(err.Error(), ": want whole seconds such as 10s, up to 1m0s")) {
			t.Errorf("seconds %q: %v, %v; want %v", text, got, err, want)
		}
	}
}
