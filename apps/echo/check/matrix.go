package check

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Matrix is every fault at every site.
type Matrix struct {
	Rows    []Row
	LeftOut []string // what could not be tried, and why
}

// Failed returns how many rows are not as they must be.
func (m *Matrix) Failed() int {
	n := 0
	for _, r := range m.Rows {
		if !r.OK {
			n++
		}
	}
	return n
}

// table returns the matrix for people: rows that say the same are one, which tells where
// it holds.
func (m *Matrix) table() [][]string {
	type key struct {
		family, fault, want, said string
		ok                        bool
	}
	var keys []key
	sites := map[key][]Site{}
	tried := map[string][]Site{} // by family
	for _, r := range m.Rows {
		family := r.Family()
		k := key{family, r.Fault, r.Want, r.Said, r.OK}
		if sites[k] == nil {
			keys = append(keys, k)
		}
		sites[k] = append(sites[k], r.Site)
		if !slices.Contains(tried[family], r.Site) {
			tried[family] = append(tried[family], r.Site)
		}
	}
	// What failed stands beside what did not.
	slices.SortStableFunc(keys, func(a, b key) int {
		if a.family != b.family {
			return strings.Compare(a.family, b.family)
		}
		first := func(k key) int {
			return slices.IndexFunc(m.Rows, func(r Row) bool { return r.Family() == k.family && r.Fault == k.fault })
		}
		return first(a) - first(b)
	})
	table := [][]string{{"", "fault", "the client must say", "it said", "on", ""}}
	for _, k := range keys {
		verdict, said := "ok", k.said
		if !k.ok {
			verdict = "FAIL"
		}
		table = append(table, []string{k.family, k.fault, k.want, said, where(sites[k], tried[k.family]), verdict})
	}
	return table
}

// where names the sites, of all that were tried.
func where(sites, tried []Site) string {
	var parts []string
	for _, on := range []string{Raw, TUN} {
		var all, some []string
		for _, s := range tried {
			if s.On != on {
				continue
			}
			all = append(all, s.Backend)
			if slices.Contains(sites, s) {
				some = append(some, s.Backend)
			}
		}
		switch {
		case len(some) == 0:
		case len(some) == len(all):
			parts = append(parts, on)
		default:
			parts = append(parts, on+" ("+strings.Join(some, ", ")+")")
		}
	}
	return strings.Join(parts, ", ")
}

// WriteText writes the matrix for people.
func (m *Matrix) WriteText(w io.Writer) error { return writeText(w, m.table(), m.closing()) }

// WriteMarkdown writes it as a table in Markdown (GitHub's).
func (m *Matrix) WriteMarkdown(w io.Writer) error { return writeMarkdown(w, m.table(), m.closing()) }

// closing tells how it went.
func (m *Matrix) closing() []string {
	var lines []string
	for _, text := range m.LeftOut {
		lines = append(lines, "left out: "+text)
	}
	if n := m.Failed(); n > 0 {
		return append(lines, fmt.Sprintf("FAIL: %d of %d are not as they must be", n, len(m.Rows)))
	}
	return append(lines, fmt.Sprintf("ok: %d of %d", len(m.Rows), len(m.Rows)))
}

// version is that of the lines in JSON. It changes when a key or a value changes its
// meaning or goes away, not when one is added.
const version = 1

// WriteJSON writes a line of JSON for each fault at each site, and one for all.
func (m *Matrix) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range m.Rows {
		if err := e.Encode(struct {
			Type    string `json:"type"`
			Version int    `json:"version"`
			Family  string `json:"family"`
			On      string `json:"on"`
			Backend string `json:"backend"`
			Fault   string `json:"fault"`
			Want    string `json:"want"`
			Said    string `json:"said"`
			OK      bool   `json:"ok"`
		}{"fault", version, r.Family(), r.On, r.Backend, r.Fault, r.Want, r.Said, r.OK}); err != nil {
			return err
		}
	}
	return e.Encode(struct {
		Type    string   `json:"type"`
		Version int      `json:"version"`
		Rows    int      `json:"rows"`
		Failed  int      `json:"failed"`
		LeftOut []string `json:"left_out,omitempty"`
	}{"total", version, len(m.Rows), m.Failed(), m.LeftOut})
}

func writeText(w io.Writer, table [][]string, closing []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range table {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n"+strings.Join(closing, "\n"))
	return err
}

func writeMarkdown(w io.Writer, table [][]string, closing []string) error {
	var b strings.Builder
	for i, row := range table {
		for _, cell := range row {
			b.WriteString("| " + strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(cell) + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	b.WriteString("\n" + strings.Join(closing, "  \n") + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}
