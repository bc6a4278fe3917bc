package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// module is what the names of packages begin with, which is left out.
const module = "iomux/"

// results are of any number of files.
type results struct {
	benchmarks []*benchmark // in the order of the first line of each
	facts      []fact       // lines of configuration, in the order of their first
	commands   []string     // that were run, as far as they were recorded
	notes      []string     // benchmarks that were skipped or failed
	byName     map[string]*benchmark
}

// fact is a line of configuration: of the machine, or of a program that takes part.
type fact struct {
	Key    string
	Values []string // more than one where results of several machines or commits meet
}

// benchmark is all the lines with the same name.
type benchmark struct {
	name      string // whole
	pkg, base string // "bench", "Chain"
	parts     []part
	values    map[string][]float64 // of each unit, one for each line
	units     []string             // in the order of the first line
}

// part is "key=value" in a name, or a value alone, whose key is "".
type part struct{ key, value string }

func (p part) String() string {
	if p.key == "" {
		return p.value
	}
	return p.key + "=" + p.value
}

// get returns "" where there is no such key.
func (b *benchmark) get(key string) string {
	for _, p := range b.parts {
		if p.key == key {
			return p.value
		}
	}
	return ""
}

// settings is the name without its beginning: "n=100/backend=epoll".
func (b *benchmark) settings() string {
	var s []string
	for _, p := range b.parts {
		s = append(s, p.String())
	}
	return strings.Join(s, "/")
}

func (b *benchmark) String() string {
	return strings.TrimSuffix(b.pkg+" "+b.base+"/"+b.settings(), "/")
}

func readAll(files []string) (*results, error) {
	r := &results{byName: map[string]*benchmark{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := r.read(file, text); err != nil {
			return nil, err
		}
	}
	if len(r.benchmarks) == 0 {
		return nil, fmt.Errorf("%s: no results of benchmarks; want lines such as \"BenchmarkWake/backend=epoll-2  1000  331 ns/op\"", strings.Join(files, ", "))
	}
	return r, nil
}

// unfinished is a benchmark that failed, or ended with the run, where its result would be.
var unfinished = regexp.MustCompile(`^Benchmark\S+[ \t]+(--- |panic: |fatal error: |signal: |exit status |$)`)

// noted are lines that tell of benchmarks without a result.
var noted = regexp.MustCompile(`^(--- FAIL|--- SKIP|panic: |fatal error: |signal: |FAIL\t)`)

// read adds what is in a file. All that is wrong in it is one error.
func (r *results) read(file string, text []byte) error {
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		said := strings.TrimSpace(line)
		switch {
		case unfinished.MatchString(strings.TrimRight(line, "\r\n")), strings.HasPrefix(line, "Benchmark") && !strings.HasSuffix(line, "\n"):
			r.notes = append(r.notes, strings.Join(strings.Fields(said), " ")+": no result")
			line = "\n"
		case noted.MatchString(said):
			r.notes = append(r.notes, strings.ReplaceAll(said, "\t", " "))
		}
		lines.WriteString(line)
	}
	var wrong []error
	in := benchfmt.NewReader(strings.NewReader(lines.String()), file)
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.SyntaxError:
			wrong = append(wrong, fmt.Errorf("%w; want \"BenchmarkName  iterations  value unit ...\"", rec))
		case *benchfmt.Result:
			if err := r.add(rec); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	if err := in.Err(); err != nil {
		wrong = append(wrong, err)
	}
	if most := 10; len(wrong) > most {
		wrong = append(wrong[:most], fmt.Errorf("%s: and %d more", file, len(wrong)-most))
	}
	return combine(wrong...)
}

func (r *results) add(rec *benchfmt.Result) error {
	var pkg string
	for _, c := range rec.Config {
		switch value := string(c.Value); c.Key {
		case "pkg":
			pkg = strings.TrimPrefix(value, module)
		case "command":
			if !slices.Contains(r.commands, value) {
				r.commands = append(r.commands, value)
			}
		default:
			r.fact(c.Key, value)
		}
	}
	name := pkg + " " + rec.Name.String()
	b := r.byName[name]
	if b == nil {
		b = &benchmark{name: name, pkg: pkg, values: map[string][]float64{}}
		base, parts := rec.Name.Parts()
		b.base = string(base)
		for _, p := range parts {
			if text, ok := strings.CutPrefix(string(p), "/"); ok { // the other kind is GOMAXPROCS
				key, value, ok := strings.Cut(text, "=")
				if !ok {
					key, value = "", text
				}
				b.parts = append(b.parts, part{key, value})
			}
		}
		r.byName[name] = b
		r.benchmarks = append(r.benchmarks, b)
	}
	for _, v := range rec.Values {
		value, unit := v.Value, v.Unit
		if v.OrigUnit != "" {
			value, unit = v.OrigValue, v.OrigUnit
		}
		if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
			file, line := rec.Pos()
			return fmt.Errorf("%s:%d: %v %s of Benchmark%s; want a number that is zero or more", file, line, value, unit, rec.Name)
		}
		if _, ok := b.values[unit]; !ok {
			b.units = append(b.units, unit)
		}
		b.values[unit] = append(b.values[unit], value)
	}
	return nil
}

func (r *results) fact(key, value string) {
	for i, f := range r.facts {
		if f.Key == key {
			if !slices.Contains(f.Values, value) {
				r.facts[i].Values = append(f.Values, value)
			}
			return
		}
	}
	r.facts = append(r.facts, fact{key, []string{value}})
}

// which names benchmarks as they are named themselves, after the package:
// "bench Chain/calls=raw/active=100" are those with any n and any backend.
type which string

func (w which) matches(b *benchmark) bool {
	pkg, name, _ := strings.Cut(string(w), " ")
	parts := strings.Split(name, "/")
	if pkg != b.pkg || parts[0] != b.base {
		return false
	}
	for _, p := range parts[1:] {
		if !slices.ContainsFunc(b.parts, func(has part) bool { return has.String() == p }) {
			return false
		}
	}
	return true
}

// find returns them in the order of the results.
func (r *results) find(w which) []*benchmark {
	var found []*benchmark
	for _, b := range r.benchmarks {
		if w.matches(b) {
			found = append(found, b)
		}
	}
	return found
}

// beside returns the benchmark that differs from b by a setting, or nil.
func (r *results) beside(b *benchmark, setting string) *benchmark {
	key, _, _ := strings.Cut(setting, "=")
	other := *b
	other.parts = nil
	for _, p := range b.parts {
		if p.key == key {
			other.parts = append(other.parts, part{key, strings.TrimPrefix(setting, key+"=")})
			continue
		}
		other.parts = append(other.parts, p)
	}
	for _, o := range r.benchmarks {
		if o != b && o.String() == other.String() {
			return o
		}
	}
	return nil
}
