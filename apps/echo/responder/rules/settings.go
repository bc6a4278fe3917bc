package rules

import (
	"slices"
	"strings"
)

// Setting is one key of a rule with a value as text, as a flag has it.
type Setting struct {
	Key   string // one of Keys, or seed
	Value string
}

// Key tells of a key that a rule can have.
type Key struct {
	Name  string
	Usage string // what it is for and what a value looks like; a line
	Many  bool   // it may be given several times
}

// Keys returns the keys that a rule can have, for which an application may have flags.
func Keys() []Key {
	keys := make([]Key, len(ruleKeys))
	for i, k := range ruleKeys {
		keys[i] = Key{k.name, k.usage, k.many}
	}
	return keys
}

// FromSettings makes a set of one rule, or without a rule if there is no setting but
// seed. Keys and values are those of a file, with what is a mapping there as a text:
//
//	loss       1%
//	delay      20ms  uniform:10ms,30ms  normal:20ms,5ms  pareto:10ms,2.5,1s
//	reorder    1%,by=50ms
//	duplicate  1%,copies=2
//	corrupt    flip=1%,at=0,checksum=1%,truncate=1%,lengthen=1%
//	error      host-unreachable,probability=5%,quote=28,from=192.0.2.1
//	rate       100,burst=10
//	down       from=10s,to=20s,every=1m
//
// Addresses and prefixes in to, from and source have commas between them. The error
// tells everything that is wrong, as that of [Parse] does.
func FromSettings(settings ...Setting) (*Set, error) {
	r := &reader{}
	var seed uint64
	s := make(said)
	for _, set := range settings {
		at := place{setting: set.Key}
		v := value{at: at, form: loose, text: strings.TrimSpace(set.Value)}
		i := slices.Index(ruleNames, set.Key)
		before, twice := s[set.Key]
		switch {
		case i < 0 && set.Key != "seed":
			if near := nearest(set.Key, append([]string{"seed"}, ruleNames...)); near != "" {
				r.fault(at, "%s is unknown; did you mean %s?", set.Key, near)
			} else {
				r.fault(at, "%s is unknown; there are seed, %s", set.Key, strings.Join(ruleNames, ", "))
			}
			continue
		case twice && (i < 0 || !ruleKeys[i].many):
			r.fault(at, "%s is there twice; give it once", set.Key)
			continue
		case set.Key == "seed":
			seed = r.seed(v)
		case set.Key == "down":
			v = value{at: at, form: list, list: append(before.list, v)}
		case ruleKeys[i].many:
			all := before.list
			for part := range strings.SplitSeq(v.text, ",") {
				all = append(all, value{at: at, form: loose, text: strings.TrimSpace(part)})
			}
			v = value{at: at, form: list, list: all}
		}
		s[set.Key] = v
	}
	delete(s, "seed")
	if len(s) == 0 {
		return r.compile(seed, nil)
	}
	return r.compile(seed, []*draft{r.draft(place{}, s, false)})
}
