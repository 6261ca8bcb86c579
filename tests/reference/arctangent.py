"""Coefficients of the arctangent in src/expectation/angles.rs.

atan(y) = y - y z P(z), z = y^2, on |y| <= tan(pi/8): P of degree 11 by interpolation at Chebyshev nodes in 60 digits.
Prints the coefficients (lowest first) and the largest error of y z P(z) relative to y.   Needs: pip install mpmath
"""

from mpmath import mp, mpf

mp.dps = 60
DEGREE = 11
END = mp.tan(mp.pi / 8) ** 2 * mpf("1.0001")


def exact(z):
    if z == 0:
        return mpf(1) / 3
    y = mp.sqrt(z)
    return (y - mp.atan(y)) / (y * z)


nodes = [END / 2 * (1 + mp.cos(mp.pi * (2 * k + 1) / (2 * DEGREE + 2))) for k in range(DEGREE + 1)]
matrix = mp.matrix([[z**j for j in range(DEGREE + 1)] for z in nodes])
coefficients = [float(c) for c in mp.lu_solve(matrix, mp.matrix([exact(z) for z in nodes]))]
worst = max(
    abs(z * (exact(z) - sum(mpf(c) * z**j for j, c in enumerate(coefficients))))
    for z in [END * k / 4000 for k in range(4001)]
)
for c in coefficients:
    print(f"    {c!r},")
print("largest error relative to y:", mp.nstr(worst, 3))
