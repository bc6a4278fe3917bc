package transport

import (
	"bytes"
	"testing"
)

func TestQuoteIsTheBeginningAndNothingOlder(t *testing.T) {
	var r ErrorReport
	long := bytes.Repeat([]byte{1}, 100)
	r.SetQuote(long)
	if !bytes.Equal(r.Quote(), long[:64]) {
		t.Errorf("the quote of %d bytes has %d, want 64", len(long), len(r.Quote()))
	}
	r.SetQuote([]byte("short"))
	var fresh ErrorReport
	fresh.SetQuote([]byte("short"))
	if string(r.Quote()) != "short" || r != fresh {
		t.Errorf("the quote is %q, or bytes of the one before are left", r.Quote())
	}
}
