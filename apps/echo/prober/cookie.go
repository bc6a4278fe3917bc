package prober

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
)

// cookieSize is how many bytes at the beginning of the data tell whose a probe is.
const cookieSize = 8

// cookies make the cookie of each probe from its serial number, by a cipher whose
// key nobody else has: an answer with the cookie of a probe is an answer to it, from
// somebody who has seen it.
type cookies struct {
	block   cipher.Block
	in, out [aes.BlockSize]byte // of the latest one
}

func newCookies() (*cookies, error) {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return &cookies{block: block}, nil
}

// of returns the cookie of a probe of one address family. It is valid until the next
// call.
func (c *cookies) of(serial uint64, v6 bool) []byte {
	family := byte(4)
	if v6 {
		family = 6
	}
	if c.in[8] != family || binary.BigEndian.Uint64(c.in[:]) != serial {
		binary.BigEndian.PutUint64(c.in[:], serial)
		c.in[8] = family
		c.block.Encrypt(c.out[:], c.in[:])
	}
	return c.out[:cookieSize]
}
