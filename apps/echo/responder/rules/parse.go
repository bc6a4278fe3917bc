package rules

import (
	"io"
	"os"
	"strconv"
)

// maxRules is the most rules in a file.
const maxRules = 1 << 20

// ReadFile reads a rules file as [Parse] does. If it cannot be read, the error is that
// of os.Open or of reading.
func ReadFile(name string) (*Set, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(name, f)
}

// Read reads rules as [Parse] does, and not more than there may be.
func Read(name string, r io.Reader) (*Set, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// Parse parses a rules file, in YAML; the name is for errors. It is as [Schema] says,
// and besides that without what contradicts itself, such as a rule that is never used
// as those before it have all of its addresses.
//
// The error tells everything that is wrong: one [*Fault] as itself, several by place
// as a *multierror.Error. Only if the text is no YAML, it is the first such place
// alone. A rule of which something cannot be told does not count as one that has the
// addresses of others.
//
// For 100,000 rules it takes some seconds and 500 MB until it returns. There may be 16
// MiB with 2,097,152 signs such as brackets, line breaks and colons, 100 keys in a
// mapping, and 2,097,152 combinations of to and from. There may be no anchors, aliases
// and tags.
func Parse(name string, data []byte) (*Set, error) {
	r := &reader{file: name}
	if len(data) > maxFile {
		r.fault(place{line: 1, column: 1}, "the file has more than %d bytes, the most that are read; write larger prefixes", maxFile)
		return nil, r.err()
	}
	v, ok := r.document(data)
	if !ok {
		return nil, r.err()
	}
	top := named{all: []string{"version", "seed", "rules"}}
	if v.form != mapping && v.form != wrong {
		r.fault(v.at, "the file is %s; write a mapping of version, seed and rules", forms[v.form])
		return nil, r.err()
	}
	s, ok := r.fields(v, top)
	if !ok {
		return nil, r.err()
	}
	if version, ok := s["version"]; !ok {
		r.fault(v.at, "version is missing; write version: 1")
	} else if r.scalar(version, "version", "1", number) && version.text != "1" {
		r.fault(version.at, "version: %s is unknown; write 1", version)
	}
	seed := uint64(0)
	if v, ok := s["seed"]; ok {
		seed = r.seed(v)
	}
	var drafts []*draft
	switch all, ok := s["rules"]; {
	case !ok:
		r.fault(v.at, "rules is missing; write rules, a list")
	case all.form == list:
		drafts = r.rules(all)
	case all.form != wrong:
		r.fault(all.at, "rules: it is %s; write a list", forms[all.form])
	}
	return r.compile(seed, drafts)
}

// rules reads the list of rules.
func (r *reader) rules(v value) []*draft {
	all := r.elements(v)
	if len(all) > maxRules {
		r.fault(v.at, "there are %d rules, and at most %d can be; write larger prefixes", len(all), maxRules)
		return nil
	}
	names := make(map[string]*draft)
	drafts := make([]*draft, 0, len(all))
	for _, e := range all {
		d := r.rule(e)
		if d == nil {
			continue
		}
		if other := names[d.name]; other != nil {
			r.fault(d.said["name"].at, "name: %s is the name of the rule in line %d too; write another", quote(d.name), other.at.line)
		} else if d.name != "" {
			names[d.name] = d
		}
		drafts = append(drafts, d)
	}
	return drafts
}

func (r *reader) seed(v value) uint64 {
	const example = "a whole number from 0 to 18446744073709551615"
	if !r.scalar(v, "seed", example, number) {
		return 0
	}
	n, err := strconv.ParseUint(v.text, 0, 64)
	if err != nil {
		r.fault(v.at, "seed: %s is not %s", v, example)
	}
	return n
}

// compile makes a set of the rules, unless there is a fault or a rule is never used.
func (r *reader) compile(seed uint64, drafts []*draft) (*Set, error) {
	for i, d := range drafts {
		for f := range d.pairs {
			for j := range d.pairs[f] {
				d.pairs[f][j].rule = uint32(i)
			}
		}
	}
	s := newSet(seed, drafts)
	for i, d := range drafts {
		if by, covered := s.before(uint32(i), d); covered {
			at := d.at
			if to, ok := d.said["to"]; ok {
				at = to.at
			}
			r.fault(at, "the rule is never used, as %v comes before it and has its addresses; put it before that, or leave it out", drafts[by])
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// before tells whether rules before one have all of its addresses, each pair in one of
// them, and returns one of these rules.
func (s *Set) before(rule uint32, d *draft) (by uint32, covered bool) {
	for f := range d.pairs {
		for _, p := range d.pairs[f] {
			if by = s.families[f].before(p); by >= rule {
				return by, false
			}
			covered = true
		}
	}
	return by, covered
}
