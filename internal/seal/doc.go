// Package seal encrypts what Holt keeps on disks, and notices every change of it, with a ring of keys that can be
// rotated. It knows no files and no servers.
//
//	message  format 1 | key ID 8 | nonce 24 | AES-256-GCM of the whole | tag 16
//	stream   format 2 | key ID 8 | salt 32  | chunks of 64 KiB, each AES-256-GCM with a tag of 16
//
// Everything is bound to a context that the caller gives again to open it: what was sealed for one place does not open
// at another.
//
// A key's secret is never used by itself. HKDF-SHA256 makes of it the key's ID, a key for messages, and with a fresh salt
// a key for each stream. Messages are sealed by XAES-256-GCM (C2SP), which makes a key of the first half of a random
// nonce of 24 bytes and uses the second half with it. Plain AES-GCM with random nonces of 12 bytes must end after 2^32
// messages, days for a busy log; here the chance that two of 2^80 messages share a nonce is below 2^-32, so a key is
// never used up by numbers. One message or chunk is far below GCM's own bound of 64 GiB.
//
// Streams are the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): the nonce of a chunk is its
// number and whether it is the last, so that a stream which was cut, reordered or continued does not open.
//
// Concurrency: a Ring never changes and may be used by any goroutine, as may a Holder. A writer or reader of a stream is
// used by one goroutine at a time.
package seal
