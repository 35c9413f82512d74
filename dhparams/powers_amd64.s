//go:build !purego

#include "textflag.h"

// func square8(a, t, n, k0 *uint64, digits int, double uint32)
//
// All numbers are vectors of eight, one after the other. In three passes over t: the products of different digits,
// two rows at a time; twice these and the squares; Montgomery's reduction, two digits at a time. Digits of t are sums
// of at most 4*digits products of 52 bits, the lower and the upper halves apart, so that they never overflow 64 bits
// for numbers of less than 2^10 digits.
TEXT ·square8(SB), NOSPLIT, $0-44
	MOVQ a+0(FP), SI
	MOVQ t+8(FP), DI
	MOVQ n+16(FP), DX
	MOVQ k0+24(FP), R8
	MOVQ digits+32(FP), CX
	MOVL double+40(FP), AX
	KMOVW AX, K1
	VPTERNLOGD $255, Z31, Z31, Z31
	VPSRLQ $12, Z31, Z31 // 2^52-1
	VPXORQ Z30, Z30, Z30
	VMOVDQA64 (R8), Z29  // k0
	MOVQ CX, R9
	SHRQ $1, R9          // pairs of digits

	// t = 0
	MOVQ DI, R11
	MOVQ CX, AX
zero:
	VMOVDQA64 Z30, (R11)
	VMOVDQA64 Z30, 64(R11)
	ADDQ $128, R11
	DECQ AX
	JNZ zero

	// t[i+j] += low half, t[i+j+1] += high half of a[i]*a[j], for all i < j. R10 = &a[i], R11 = &t[2i], BX = pairs
	// of columns that are left for the loop.
	MOVQ SI, R10
	MOVQ DI, R11
	MOVQ R9, BX
	DECQ BX
rows:
	VMOVDQA64 (R10), Z0    // a[i]
	VMOVDQA64 64(R10), Z1  // a[i+1]
	VMOVDQA64 128(R10), Z2 // a[i+2]
	VMOVDQA64 192(R10), Z3 // a[i+3]
	VMOVDQA64 64(R11), Z4
	VPMADD52LUQ Z1, Z0, Z4
	VMOVDQA64 Z4, 64(R11)
	VMOVDQA64 128(R11), Z5
	VPMADD52HUQ Z1, Z0, Z5
	VPMADD52LUQ Z2, Z0, Z5
	VMOVDQA64 Z5, 128(R11)
	VMOVDQA64 192(R11), Z6
	VPMADD52HUQ Z2, Z0, Z6
	VPMADD52LUQ Z3, Z0, Z6
	VPMADD52LUQ Z2, Z1, Z6
	VMOVDQA64 Z6, 192(R11)
	LEAQ 256(R10), R12     // &a[j], from j = i+4
	LEAQ 256(R11), R13     // &t[i+j]
	MOVQ BX, AX
	TESTQ AX, AX
	JZ rowsdone
columns:
	VMOVDQA64 (R12), Z7
	VMOVDQA64 (R13), Z8
	VMOVDQA64 64(R12), Z9
	VMOVDQA64 64(R13), Z10
	VPMADD52LUQ Z7, Z0, Z8
	VPMADD52LUQ Z9, Z0, Z10
	VPMADD52HUQ Z3, Z0, Z8
	VPMADD52HUQ Z7, Z0, Z10
	VPMADD52LUQ Z3, Z1, Z8
	VPMADD52LUQ Z7, Z1, Z10
	VPMADD52HUQ Z2, Z1, Z8
	VPMADD52HUQ Z3, Z1, Z10
	VMOVDQA64 Z8, (R13)
	VMOVDQA64 Z10, 64(R13)
	VMOVDQA64 Z7, Z2
	VMOVDQA64 Z9, Z3
	ADDQ $128, R12
	ADDQ $128, R13
	DECQ AX
	JNZ columns
	ADDQ $128, R10
	ADDQ $256, R11
	DECQ BX
	JMP rows
rowsdone:

	// t[2i] = 2 t[2i] + low half, t[2i+1] = 2 t[2i+1] + high half of a[i]².
	MOVQ SI, R10
	MOVQ DI, R11
	MOVQ CX, AX
squares:
	VMOVDQA64 (R10), Z0
	VMOVDQA64 (R11), Z1
	VMOVDQA64 64(R11), Z2
	VPADDQ Z1, Z1, Z1
	VPADDQ Z2, Z2, Z2
	VPMADD52LUQ Z0, Z0, Z1
	VPMADD52HUQ Z0, Z0, Z2
	VMOVDQA64 Z1, (R11)
	VMOVDQA64 Z2, 64(R11)
	ADDQ $64, R10
	ADDQ $128, R11
	DECQ AX
	JNZ squares

	// For each pair of digits i, i+1: t += (m0 + 2^52 m1) n 2^(52 i), with m0 and m1 such that the digits become 0.
	// R11 = &t[i].
	MOVQ DI, R11
	MOVQ R9, BX
	VMOVDQA64 (DX), Z14   // n[0]
	VMOVDQA64 64(DX), Z15 // n[1]
reduce:
	VMOVDQA64 (R11), Z4
	VMOVDQA64 64(R11), Z5
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPMADD52LUQ Z4, Z29, Z0 // m0
	VPMADD52LUQ Z0, Z14, Z4
	VPMADD52HUQ Z0, Z14, Z5
	VPMADD52LUQ Z0, Z15, Z5
	VPSRLQ $52, Z4, Z4
	VPADDQ Z4, Z5, Z5
	VPMADD52LUQ Z5, Z29, Z1 // m1
	VPMADD52LUQ Z1, Z14, Z5
	VPSRLQ $52, Z5, Z5
	VPADDQ 128(R11), Z5, Z8
	LEAQ 128(DX), R12     // &n[k], from k = 2
	LEAQ 128(R11), R13    // &t[i+k]
	VMOVDQA64 Z14, Z2     // n[k-2]
	VMOVDQA64 Z15, Z3     // n[k-1]
	MOVQ R9, AX
	JMP reduceenter
reducecolumns:
	VMOVDQA64 (R13), Z8
reduceenter:
	VMOVDQA64 (R12), Z7
	VMOVDQA64 64(R12), Z9
	VMOVDQA64 64(R13), Z10
	VPMADD52LUQ Z7, Z0, Z8
	VPMADD52LUQ Z9, Z0, Z10
	VPMADD52HUQ Z3, Z0, Z8
	VPMADD52HUQ Z7, Z0, Z10
	VPMADD52LUQ Z3, Z1, Z8
	VPMADD52LUQ Z7, Z1, Z10
	VPMADD52HUQ Z2, Z1, Z8
	VPMADD52HUQ Z3, Z1, Z10
	VMOVDQA64 Z8, (R13)
	VMOVDQA64 Z10, 64(R13)
	VMOVDQA64 Z7, Z2
	VMOVDQA64 Z9, Z3
	ADDQ $128, R12
	ADDQ $128, R13
	DECQ AX
	JNZ reducecolumns
	ADDQ $128, R11
	DECQ BX
	JNZ reduce

	// a = t / R, doubled where asked for, in digits of 52 bits again.
	MOVQ SI, R10
	MOVQ CX, AX
	VPXORQ Z4, Z4, Z4
carry:
	VMOVDQA64 (R11), Z5
	VPADDQ Z5, Z5, K1, Z5
	VPADDQ Z4, Z5, Z5
	VPSRLQ $52, Z5, Z4
	VPANDQ Z31, Z5, Z5
	VMOVDQA64 Z5, (R10)
	ADDQ $64, R10
	ADDQ $64, R11
	DECQ AX
	JNZ carry
	VZEROUPPER
	RET
