package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write testdata/page.golden instead of comparing with it")

func pageOf(t *testing.T, r *results) (*page, *html.Node, string) {
	t.Helper()
	p, err := newPage(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.html()
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p, root, string(text)
}

// outline has the texts of a page, a line for each heading, paragraph, row and picture.
func outline(n *html.Node) string {
	var b strings.Builder
	for n := range n.Descendants() {
		switch n.Data {
		case "h1", "h2", "h3", "p", "pre", "figcaption":
			b.WriteString(n.Data + ": " + words(n) + "\n")
		case "tr":
			var cells []string
			for c := range n.ChildNodes() {
				if c.Type == html.ElementNode {
					cells = append(cells, words(c))
				}
			}
			b.WriteString("  " + strings.Join(cells, " | "))
			for _, a := range n.Attr {
				b.WriteString(" [" + a.Val + "]")
			}
			b.WriteString("\n")
		case "svg":
			var texts []string
			dashed := map[string]bool{}
			for c := range n.Descendants() {
				if c.Data == "text" {
					texts = append(texts, words(c))
				}
				for _, a := range c.Attr {
					if _, dashes, ok := strings.Cut(a.Val, "stroke-dasharray:"); ok && a.Key == "style" {
						dashes, _, _ = strings.Cut(dashes, ";")
						dashed[dashes] = true
					}
				}
			}
			b.WriteString("  picture with " + number(float64(len(dashed))) + " kinds of dashes: " + strings.Join(texts, " | ") + "\n")
		}
	}
	return b.String()
}

// words is the text without what HTML does not show.
func words(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
		if c.Data == "br" {
			b.WriteString("; ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestThePageIsAsItWas(t *testing.T) {
	r, err := readAll([]string{"testdata/results.txt"})
	if err != nil {
		t.Fatal(err)
	}
	_, root, _ := pageOf(t, r)
	got := outline(root)
	const file = "testdata/page.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gots, wants := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gots), len(wants)) {
		if i >= len(gots) || i >= len(wants) || gots[i] != wants[i] {
			t.Fatalf("line %d of the outline:\n%s\nwant, if the change is meant it is written with -update:\n%s",
				i+1, strings.Join(gots[min(i, len(gots)):min(i+3, len(gots))], "\n"), strings.Join(wants[min(i, len(wants)):min(i+3, len(wants))], "\n"))
		}
	}
}

func TestThePageNeedsNoOtherFile(t *testing.T) {
	r, err := readAll([]string{"testdata/results.txt"})
	if err != nil {
		t.Fatal(err)
	}
	p, root, text := pageOf(t, r)
	for n := range root.Descendants() {
		if n.Data == "link" || n.Data == "script" || n.Data == "img" || n.Data == "use" {
			t.Errorf("there is a %s", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "src" || a.Key == "href" || strings.Contains(a.Val, "url(") {
				t.Errorf("%s has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
	if n := strings.Count(text, "<svg"); n != len(pictures) || strings.Contains(text, "<?xml") || strings.Contains(text, "@import") {
		t.Errorf("%d pictures, or what is no part of a page; want %d", n, len(pictures))
	}
	for _, f := range p.Figures {
		if !strings.HasPrefix(f.file, "<?xml") || !strings.HasSuffix(f.file, string(f.SVG)) {
			t.Errorf("%s is another picture in its file", f.Name)
		}
	}
}

func TestARowThatFallsShortSaysSo(t *testing.T) {
	for value, want := range map[string]string{"6.5": "FALLS SHORT [short]", "5.5": "met"} {
		p, root, _ := pageOf(t, reading(t, "pkg: iomux/bench/peers\nBenchmarkSteady/n=4096/prober=echo 1 "+value+" %core\n"))
		row := "4,096 targets each second, part of a core | bench/peers Steady/n=4096/prober=echo | " + value + " %core | at most 6 %core | " + want + "\n"
		if !strings.Contains(outline(root), row) {
			t.Errorf("no row %q", row)
		}
		counts := map[string]string{"met": "1 goals met, 0 fall short", "FALLS SHORT [short]": "0 goals met, 1 fall short"}
		if !strings.HasPrefix(p.Verdict, counts[want]) {
			t.Errorf("%s; want %s", p.Verdict, counts[want])
		}
	}
}

func TestAQuickRunSaysSo(t *testing.T) {
	for times, want := range map[string]bool{"1x": true, "15x": false} {
		p, _, _ := pageOf(t, reading(t, "command: go test -bench . -benchtime "+times+" ./bench\npkg: p\nBenchmarkA 1 5 ns/op\n"))
		if got := strings.Contains(p.Verdict, "quick run"); got != want {
			t.Errorf("-benchtime %s: %s", times, p.Verdict)
		}
	}
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	_, root, text := pageOf(t, reading(t, "libev: <b>4.33\npkg: p\nBenchmarkA/<i>=1 1 5 ns/op\n"))
	got := outline(root)
	for _, want := range []string{"date | not recorded in the results\n", "commit | not recorded in the results\n", "libev | <b>4.33\n",
		"One ready descriptor of many: not measured; it is drawn from bench Chain/active=1.\n", "  <i>=1 | 1 | 5\n", "not measured [none]\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(text, "<b>") || strings.Contains(text, "<i>") || strings.Contains(text, "<svg") {
		t.Error("there is HTML of the results, or a picture of nothing")
	}
}

// The spread is told with the median, and a benchmark that has set the time of an
// operation to zero has none.
func TestTablesHaveAColumnForEachMetric(t *testing.T) {
	ts := tables(reading(t, "pkg: p\nBenchmarkA/k=1 1 0 ns/op 5 ns/event 4 ns/event-p10 8 ns/event-p90\nBenchmarkA/k=2 1 0 ns/op 3 MB\nBenchmarkA/k=2 1 0 ns/op 9 MB\nBenchmarkB 1 7 ns/op\n").benchmarks)
	var got strings.Builder
	for _, table := range ts {
		got.WriteString(table.Name + " [" + strings.Join(table.Units, ",") + "]")
		for _, row := range table.Rows {
			got.WriteString(" " + row.Settings + ":" + number(float64(row.Lines)) + ":" + strings.Join(row.Cells, ","))
		}
		got.WriteString("\n")
	}
	if want := "p A [ns/event,MB] k=1:1:5 (4–8), k=2:2:,6 (3–9)\np B [ns/op] :1:7\n"; got.String() != want {
		t.Errorf("tables\n%s; want\n%s", got.String(), want)
	}
}

func TestSystemCallsAreBesideEachOtherByBackend(t *testing.T) {
	got := calls(reading(t, `pkg: iomux/bench
BenchmarkA/backend=epoll/k=1 1 2 syscalls/event
BenchmarkA/backend=poll/k=1 1 1 syscalls/event
BenchmarkA/backend=poll/k=2 1 3 syscalls/event
BenchmarkA/k=3 1 4 syscalls/event
BenchmarkB/backend=select 1 0.5 syscalls/event
BenchmarkC/backend=epoll 1 5 ns/event
`).benchmarks)
	want := table{Units: []string{"epoll", "poll", "select"}, Rows: []tableRow{
		{"A/k=1", 0, []string{"2", "1", ""}}, {"A/k=2", 0, []string{"", "3", ""}}, {"B", 0, []string{"", "", "0.5"}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v; want %+v", got, want)
	}
}

func TestWhatIsNotInAPictureIsNamedBelowIt(t *testing.T) {
	text := "pkg: iomux/bench\n"
	for i := range 7 {
		text += fmt.Sprintf("BenchmarkEchoWindow/window=w%d/backend=epoll 1 5 packets/s\n", i)
	}
	const first, fifth, sixth = "Left out: bench EchoWindow/window=w0/backend=epoll: window=w0 does not fit on the axis; ", "window=w4 does", "; and 2 more."
	for _, text := range []string{text, text + "BenchmarkEchoWindow/window=32/backend=epoll 1 5 packets/s\n"} {
		_, root, _ := pageOf(t, reading(t, text))
		for _, want := range []string{first, fifth, sixth} {
			if got := outline(root); !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	}
}
