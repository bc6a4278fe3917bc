package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// drawing is a picture with what was measured.
type drawing struct {
	title     string
	x, y      axis
	places    []string // of a picture of rows, from the top; or on the x axis, in place of numbers
	rows      bool
	series    []series
	crossings []crossing
	left      []string // what could not be drawn, and why
}

type axis struct {
	label string // with the unit
	log   bool
}

type series struct {
	name   string
	points []point
}

// point is a value over a number; or the number is that of a place.
type point struct {
	at float64
	quantity
}

const (
	mostPlaces = 30
	mostRunes  = 30 // in a name
)

// draw returns nil if nothing of it was measured. What cannot be drawn is left out.
func (r *results) draw(p picture) *drawing {
	d := &drawing{title: p.title, x: p.x, y: p.y, rows: p.rows}
	of := map[string][]point{}
	var names []string
	leave := func(b *benchmark, why string, args ...any) {
		d.left = append(d.left, fmt.Sprintf("%v: %s", b, fmt.Sprintf(why, args...)))
	}
	for _, s := range p.sources {
		for _, b := range r.find(s.of) {
			q, ok := b.quantity(s.unit)
			name, named := s.nameOf(b)
			if !ok || !named {
				continue
			}
			q = q.each(s.value)
			if logarithmic := p.rows && p.x.log || !p.rows && p.y.log; !drawable(q.low, logarithmic) || !drawable(q.high, logarithmic) {
				leave(b, "%v %s does not fit on the axis", q, s.unit)
				continue
			}
			var at float64
			if s.x != "" {
				text := b.get(s.x)
				if text == "" {
					continue
				}
				var err error
				if at, err = strconv.ParseFloat(text, 64); err != nil || !drawable(at, p.x.log) {
					leave(b, "%s=%s does not fit on the axis", s.x, text)
					continue
				}
			}
			if of[name] == nil && len(names) == len(styles) {
				leave(b, "more than %d cannot be told apart", len(styles))
				continue
			}
			if s.x == "" {
				if at, ok = d.placeOf(s, b); !ok {
					leave(b, "there is no room for more than %d", mostPlaces)
					continue
				}
			}
			if slices.ContainsFunc(of[name], func(pt point) bool { return pt.at == at }) {
				leave(b, "there is another value in its place")
				continue
			}
			if of[name] == nil {
				names = append(names, name)
			}
			of[name] = append(of[name], point{at, q})
		}
	}
	for _, name := range names {
		slices.SortFunc(of[name], func(a, b point) int { return cmp.Compare(a.at, b.at) })
		d.series = append(d.series, series{name, of[name]})
	}
	if d.series == nil && d.left == nil {
		return nil
	}
	d.crossings = d.cross(p.first)
	return d
}

// drawable tells whether an axis has room for a value.
func drawable(v float64, logarithmic bool) bool {
	return v >= 1e-9 && v <= 1e12 || v == 0 && !logarithmic
}

// nameOf is the series that a benchmark belongs to. One without the key, where others
// have it, is in none.
func (s source) nameOf(b *benchmark) (name string, ok bool) {
	switch {
	case s.series == "":
		return s.called(b), true
	case b.get(s.series) != "":
		return b.get(s.series), true
	}
	return s.series, !isKey[s.series]
}

// isKey tells keys from names.
var isKey = map[string]bool{"backend": true, "loop": true, "prober": true, "server": true}

// placeOf is the number of a place, which is made if there is none yet.
func (d *drawing) placeOf(s source, b *benchmark) (at float64, ok bool) {
	place := s.place
	if place == "" {
		place = s.called(b)
	}
	i := slices.Index(d.places, place)
	if i < 0 && len(d.places) < mostPlaces {
		i, d.places = len(d.places), append(d.places, place)
	}
	return float64(i), i >= 0
}

// called is what a benchmark is called in a picture, where what all have in common is
// left out.
func (s source) called(b *benchmark) string {
	var words []string
	for _, p := range b.parts {
		if p.key == s.series && p.key != "" || slices.Contains(strings.Split(string(s.of), "/"), p.String()) {
			continue
		}
		switch zero := strings.TrimSuffix(p.value, "s") == "0"; p.key {
		case "", "server", "backend", "prober", "loop", "job":
			words = append(words, p.value)
		case "reference":
			words = append(words, "beside "+p.value)
		case "spin":
			if zero {
				words = append(words, "no spin")
			} else {
				words = append(words, "spin "+strings.Replace(p.value, "us", "µs", 1))
			}
		default:
			words = append(words, p.String())
		}
	}
	if lost, ok := b.quantity("%lost"); ok && lost.median >= 1 { // what was cheap by doing less
		words = append(words, number(math.Round(lost.median))+" % lost")
	}
	return strings.Join(words, ", ")
}

// shown is a name as there is room for it, without what would end a picture.
func shown(name string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name))
	if len(runes) > mostRunes {
		runes = append(runes[:mostRunes-1], '…')
	}
	return string(runes)
}
