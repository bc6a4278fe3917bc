package slip

// The characters of RFC 1055.
const (
	end    = 0xc0
	esc    = 0xdb
	escEnd = 0xdc // after esc: end
	escEsc = 0xdd // after esc: esc
)

// appendEscaped appends data as it goes over the line.
func appendEscaped(frame, data []byte) []byte {
	for _, c := range data {
		switch c {
		case end:
			frame = append(frame, esc, escEnd)
		case esc:
			frame = append(frame, esc, escEsc)
		default:
			frame = append(frame, c)
		}
	}
	return frame
}

// decode undoes that in place. It is not ok where esc is followed by something
// else.
func decode(frame []byte) (data []byte, ok bool) {
	n := 0
	for i := 0; i < len(frame); i++ {
		c := frame[i]
		if c == esc {
			if i++; i == len(frame) {
				return nil, false
			}
			switch frame[i] {
			case escEnd:
				c = end
			case escEsc:
				c = esc
			default:
				return nil, false
			}
		}
		frame[n] = c
		n++
	}
	return frame[:n], true
}
