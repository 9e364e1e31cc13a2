package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// extendedNonce is the size of the nonces of XAES-256-GCM. They are random.
const extendedNonce = 24

// extended is XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that CMAC makes of half of the nonce.
type extended struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // CMAC's first subkey
}

func newExtended(key []byte) (*extended, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &extended{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	double(&x.k1)
	return x, nil
}

// double multiplies by x in the field of CMAC (NIST SP 800-38B, 6.1), in constant time.
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ 0x87&-carry
}

// gcm returns the cipher for a nonce, and the rest of the nonce that goes with it.
func (x *extended) gcm(nonce []byte) (cipher.AEAD, []byte, error) {
	var key [2 * aes.BlockSize]byte
	for i := range 2 { // NIST SP 800-108r1 in counter mode: counter, label X, separator, context
		half := key[i*aes.BlockSize:][:aes.BlockSize]
		copy(half, []byte{0, byte(i + 1), 'X', 0})
		copy(half[4:], nonce[:12])
		subtle.XORBytes(half, half, x.k1[:])
		x.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, nonce[12:extendedNonce], err
}
