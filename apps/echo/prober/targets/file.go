package targets

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/go-multierror"
)

const (
	maxToken  = 512 // bytes of a spec in a file
	maxErrors = 100 // of a file that are told one by one
)

// AddFile adds the targets that a file lists: one or more specs a line, as
// [Builder.Add] takes them, with blanks between them. A # begins a comment, which
// ends with the line. Lines may end with CRLF, and the file may begin with the byte
// order mark of UTF-8. The name is for errors.
//
// The error tells everything that is wrong, with the name of the file and the number
// of the line, up to a hundred faults and how many more there are: one fault as
// itself, several as a *multierror.Error. An error of the reader is among them. The
// specs that are right were added all the same.
func (b *Builder) AddFile(name string, r io.Reader) error {
	before := b.seq
	err := readFile(name, r, b.Add)
	if err == nil && b.seq == before {
		b.empty = append(b.empty, name)
	}
	return err
}

// ExcludeFile excludes the targets that a file lists, as [Builder.Exclude] does. The
// file and the errors are those of [Builder.AddFile].
func (b *Builder) ExcludeFile(name string, r io.Reader) error {
	return readFile(name, r, b.Exclude)
}

// readFile calls use for every spec of a file.
func readFile(name string, r io.Reader, use func(string) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var faults faults
	begin, _ := in.Peek(3) // an error comes again
	switch {
	case bytes.Equal(begin, []byte("\xef\xbb\xbf")):
		in.Discard(len(begin))
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		return fmt.Errorf("%s: it is written in UTF-16; convert it to UTF-8", name)
	}
	var token [maxToken + 1]byte // the last byte tells that there is more
	n, line, comment := 0, 1, false
	for {
		c, err := in.ReadByte()
		end := err != nil || c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#'
		if !end {
			if !comment && n < len(token) {
				token[n] = c
				n++
			}
			continue
		}
		if n > maxToken {
			faults.add(fmt.Errorf("%s:%d: %s is longer than %d bytes; write targets with blanks between them",
				name, line, quote(string(token[:n])), maxToken))
		} else if n > 0 {
			if err := use(string(token[:n])); err != nil {
				faults.add(fmt.Errorf("%s:%d: %w", name, line, err))
			}
		}
		n = 0
		switch {
		case err == io.EOF:
			return faults.error(name)
		case err != nil:
			faults.more = append(faults.more, fmt.Errorf("%s:%d: %w", name, line, err))
			return faults.error(name)
		case c == '#':
			comment = true
		case c == '\n':
			line++
			comment = false
		}
	}
}

// faults gathers what is wrong in a file.
type faults struct {
	first []error
	count int     // of all
	more  []error // what is told in any case
}

func (f *faults) add(err error) {
	if f.count++; len(f.first) < maxErrors {
		f.first = append(f.first, err)
	}
}

// error returns the faults as one error, or nil.
func (f *faults) error(name string) error {
	all := f.first
	if rest := f.count - len(f.first); rest > 0 {
		all = append(all, fmt.Errorf("%s: %d more like these", name, rest))
	}
	all = append(all, f.more...)
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &multierror.Error{Errors: all}
}
