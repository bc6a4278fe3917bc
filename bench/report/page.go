package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	text "text/template"
)

//go:embed page.html page.md
var texts embed.FS

var (
	htmlTemplate = template.Must(template.ParseFS(texts, "page.html"))
	// In Markdown a name could begin a column, a tag or emphasis.
	markdownTemplate = text.Must(text.New("page.md").Funcs(text.FuncMap{"plain": strings.NewReplacer(
		"\\", "\\\\", "|", "\\|", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "<", "&lt;", "&", "&amp;").Replace}).ParseFS(texts, "page.md"))
)

// page is what the template shows.
type page struct {
	Verdict  string
	Facts    []fact
	Missing  []fact // peers that are not installed
	Commands []string
	Notes    []string
	Goals    []section
	Figures  []figure
	Calls    table // system calls for each event, by backend
	Against  *comparison
	Tables   []table
}

// section is a part of the goals.
type section struct {
	About string
	Rows  []row
}

// figure is a picture, or the place of one.
type figure struct {
	Name, Title, About string
	Crossings          string
	Left               []string      // what is not in it, and why
	SVG                template.HTML // "" if nothing of it was measured
	Wants              []string      // the benchmarks that it is drawn from
	file               string        // the picture as a file of its own
}

// table has the benchmarks with a name.
type table struct {
	Name  string
	Units []string
	Rows  []tableRow
}

type tableRow struct {
	Settings string
	Lines    int
	Cells    []string // one for each unit
}

// newPage judges, draws and lists what was measured.
func newPage(r *results) (*page, error) {
	p := &page{Commands: r.commands, Notes: r.notes, Calls: calls(r.benchmarks), Tables: tables(r.benchmarks)}
	for _, f := range described(r.facts) {
		if strings.HasPrefix(f.Values[0], "not installed") {
			p.Missing = append(p.Missing, f)
		} else {
			p.Facts = append(p.Facts, f)
		}
	}
	count := map[string]int{}
	for _, g := range goals {
		rows := r.judge(g)
		if n := len(p.Goals); n == 0 || p.Goals[n-1].About != g.about {
			p.Goals = append(p.Goals, section{About: g.about})
		}
		last := &p.Goals[len(p.Goals)-1]
		last.Rows = append(last.Rows, rows...)
		for _, row := range rows {
			count[row.Verdict]++
		}
	}
	p.Verdict = fmt.Sprintf("%d goals met, %d fall short, %d not measured", count[met], count[fallsShort], count[notMeasured])
	if slices.ContainsFunc(r.commands, func(c string) bool { return strings.Contains(c, " -benchtime 1x") }) {
		p.Verdict += ", by a quick run, in which chance has its part"
	}
	for _, pic := range pictures {
		d := r.draw(pic)
		f := figure{Name: pic.name, Title: pic.title, About: pic.about}
		for _, s := range pic.sources {
			if !slices.Contains(f.Wants, string(s.of)) {
				f.Wants = append(f.Wants, string(s.of))
			}
		}
		if d != nil {
			f.Left = few(d.left)
		}
		if d != nil && d.series != nil {
			var err error
			if f.file, err = d.svg(); err != nil {
				return nil, fmt.Errorf("picture %s: %w", pic.name, err)
			}
			f.SVG = inline(f.file)
			f.Crossings = d.told(pic.first)
		}
		p.Figures = append(p.Figures, f)
	}
	return p, nil
}

// told says where a series crosses the others, and which it does not cross.
func (d *drawing) told(first string) string {
	if first == "" {
		return ""
	}
	var said []string
	for _, s := range d.series {
		if s.name == first {
			continue
		}
		found := false
		for _, c := range d.crossings {
			if c.before == s.name || c.after == s.name {
				said, found = append(said, c.String()), true
			}
		}
		if !found {
			said = append(said, fmt.Sprintf("%s and %s do not cross here", first, s.name))
		}
	}
	if said == nil {
		return ""
	}
	return strings.Join(said, "; ") + "."
}

// few is the beginning of a list that nobody reads to its end.
func few(all []string) []string {
	const most = 5
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
}

// inline leaves out what only a file of its own has.
func inline(svg string) template.HTML {
	return template.HTML(svg[strings.Index(svg, "<svg"):]) // gonum escapes the texts in it
}

// described has what everyone asks first at the beginning.
func described(facts []fact) []fact {
	first := []string{"date", "commit", "cpu", "processors", "kernel", "go", "goos", "goarch"}
	rank := func(f fact) int {
		if i := slices.Index(first, f.Key); i >= 0 {
			return i
		}
		return len(first)
	}
	sorted := slices.Clone(facts)
	slices.SortStableFunc(sorted, func(a, b fact) int { return rank(a) - rank(b) })
	for _, key := range slices.Backward(first[:2]) {
		if !slices.ContainsFunc(facts, func(f fact) bool { return f.Key == key }) {
			sorted = slices.Insert(sorted, 0, fact{key, []string{"not recorded in the results"}})
		}
	}
	return sorted
}

// tables has everything that was read.
func tables(all []*benchmark) []table {
	var ts []table
	index := map[string]int{}
	for _, b := range all {
		name := strings.TrimPrefix(b.pkg+" "+b.base, " ")
		i, ok := index[name]
		if !ok {
			i = len(ts)
			index[name] = i
			ts = append(ts, table{Name: name})
		}
		for _, unit := range b.units {
			shown := !isSpread(unit) && !(unit == "ns/op" && zero(b.values[unit]))
			if shown && !slices.Contains(ts[i].Units, unit) {
				ts[i].Units = append(ts[i].Units, unit)
			}
		}
	}
	for _, b := range all {
		t := &ts[index[strings.TrimPrefix(b.pkg+" "+b.base, " ")]]
		row := tableRow{Settings: b.settings()}
		for _, unit := range t.Units {
			text := ""
			if q, ok := b.quantity(unit); ok {
				text = q.String()
				row.Lines = max(row.Lines, q.lines)
			}
			row.Cells = append(row.Cells, text)
		}
		t.Rows = append(t.Rows, row)
	}
	return ts
}

// zero tells values that a benchmark has in place of a metric that means nothing for it.
func zero(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v != 0 })
}

// calls has a row for each benchmark whose system calls were counted, and a column for
// each backend.
func calls(all []*benchmark) (t table) {
	index := map[string]int{}
	for _, b := range all {
		q, ok := b.quantity("syscalls/event")
		backend := b.get("backend")
		if !ok || backend == "" {
			continue
		}
		name := strings.TrimPrefix(strings.ReplaceAll("/"+b.base+"/"+b.settings(), "/backend="+backend, ""), "/")
		if _, ok := index[name]; !ok {
			index[name] = len(t.Rows)
			t.Rows = append(t.Rows, tableRow{Settings: name})
		}
		row := &t.Rows[index[name]]
		if !slices.Contains(t.Units, backend) {
			t.Units = append(t.Units, backend)
		}
		for len(row.Cells) <= slices.Index(t.Units, backend) {
			row.Cells = append(row.Cells, "")
		}
		row.Cells[slices.Index(t.Units, backend)] = q.String()
	}
	for i := range t.Rows {
		t.Rows[i].Cells = append(t.Rows[i].Cells, make([]string, len(t.Units)-len(t.Rows[i].Cells))...)
	}
	return t
}

func (p *page) html() ([]byte, error) {
	var b bytes.Buffer
	err := htmlTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// markdown has the tables, to be pasted.
func (p *page) markdown() ([]byte, error) {
	var b bytes.Buffer
	err := markdownTemplate.Execute(&b, p)
	return b.Bytes(), err
}
