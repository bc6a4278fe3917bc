package cmd

import "encoding/hex"

// payload makes the data of the requests, after check: the text, the pattern or the
// bytes 0, 1, 2, ... as ping(8) sends them.
func (o *clientOptions) payload() []byte {
	var fill []byte
	switch {
	case o.given("data"):
		fill = []byte(o.data)
		if !o.given("size") {
			return fill
		}
	case o.given("pattern"):
		fill, _ = decodePattern(o.pattern)
	default:
		for i := range 256 {
			fill = append(fill, byte(i))
		}
	}
	if len(fill) == 0 {
		fill = []byte{0}
	}
	data := make([]byte, o.size)
	for i := range data {
		data[i] = fill[i%len(fill)]
	}
	return data
}

func decodePattern(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) == 0 {
		err = hex.ErrLength
	}
	return b, err
}
