package seal

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

const (
	formatMessage = 1
	formatStream  = 2

	// HeaderSize is how many bytes KeyID needs: format and key ID.
	HeaderSize = 1 + idSize
	tagSize    = 16

	// Overhead is how much longer a message is when it is sealed.
	Overhead = HeaderSize + extendedNonce + tagSize
)

// Seal encrypts a message for a context, which is needed again to open it.
func (r Ring) Seal(plain, context []byte) ([]byte, error) {
	m, err := r.primary()
	if err != nil {
		return nil, err
	}
	out := m.appendHeader(make([]byte, 0, Overhead+len(plain)), formatMessage)
	out = out[:HeaderSize+extendedNonce]
	nonce := out[HeaderSize:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	aead, nonce, err := m.messages.gcm(nonce)
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, nonce, plain, bound(out[:HeaderSize], context)), nil
}

// Open returns the message that was sealed for this context. It fails with ErrUnknownKey or ErrTampered.
func (r Ring) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != formatMessage {
		return nil, fmt.Errorf("%w: no sealed message begins so", ErrTampered)
	}
	m, err := r.find(sealed[1:HeaderSize])
	if err != nil {
		return nil, err
	}
	aead, nonce, err := m.messages.gcm(sealed[HeaderSize:])
	if err != nil {
		return nil, err
	}
	text := sealed[HeaderSize+extendedNonce:]
	plain, err := aead.Open(make([]byte, 0, len(text)-tagSize), nonce, text, bound(sealed[:HeaderSize], context))
	if err != nil {
		return nil, fmt.Errorf("%w: a message", ErrTampered)
	}
	return plain, nil
}

// KeyID returns the ID of the key with which a message, or a stream of which this is the beginning, was sealed. It is not
// known to be true before that is opened. It fails with ErrTampered.
func KeyID(sealed []byte) (string, error) {
	if len(sealed) < HeaderSize || sealed[0] != formatMessage && sealed[0] != formatStream {
		return "", fmt.Errorf("%w: nothing sealed begins so", ErrTampered)
	}
	return hex.EncodeToString(sealed[1:HeaderSize]), nil
}

func (m *member) appendHeader(to []byte, format byte) []byte {
	return append(append(to, format), m.header[:]...)
}

// bound is what is authenticated besides the text. The header has a fixed size, so the two cannot be confused.
func bound(header, context []byte) []byte {
	return append(append(make([]byte, 0, len(header)+len(context)), header...), context...)
}
