//go:build !amd64 || purego

package dhparams

func vectors() bool { return false }

func newVectorPowers(bits int) powers { return newWordPowers(bits) }
