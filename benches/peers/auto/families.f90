! Block-symmetric critical points of the population loss of a two-layer ReLU student, K = M, orthonormal teacher T = I,
! for AUTO-07p. Students and teachers are cut into the same blocks; block s has n(s) of each. A student of block s has
! the entry c(s,t) on the teachers of block t, and d(s) more on its own. M and with it one n(s) is any real number.
!
! PAR(1) = M   PAR(2) = k1, the number of flipped students   PAR(3) = loss
! PAR(4) = split: 0  blocks k1, M-k1                 U = (a1, b1, c12, a2, b2, c21), a = c(s,s) + d(s), b = c(s,s)
!                 1  blocks k1, M-k1-1, 1            one unflipped student apart
!                 2  blocks k1-1, M-k1, 1            one flipped student apart
! U lists for every block s: a, b and c(s,t), t /= s. A block of one has no b. With a split, U begins on the symmetric
! branch, and its branch points are those where a student leaves its block.
! The start, U and PAR, comes from the constants file.

module duals
  implicit none
  integer, parameter :: dp = kind(1d0), most = 12       ! at most 11 entries, and M
  type dual
    real(dp) :: v = 0, g(most) = 0                      ! value and derivatives
  end type
  interface operator(+)
    module procedure plus, plus_real
  end interface
  interface operator(-)
    module procedure minus, minus_real
  end interface
  interface operator(*)
    module procedure times, times_real
  end interface
contains
  elemental type(dual) function plus(x, y)
    type(dual), intent(in) :: x, y
    plus = dual(x%v + y%v, x%g + y%g)
  end function
  elemental type(dual) function plus_real(x, y)
    real(dp), intent(in) :: x
    type(dual), intent(in) :: y
    plus_real = dual(x + y%v, y%g)
  end function
  elemental type(dual) function minus(x, y)
    type(dual), intent(in) :: x, y
    minus = dual(x%v - y%v, x%g - y%g)
  end function
  elemental type(dual) function minus_real(x, y)
    type(dual), intent(in) :: x
    real(dp), intent(in) :: y
    minus_real = dual(x%v - y, x%g)
  end function
  elemental type(dual) function times(x, y)
    type(dual), intent(in) :: x, y
    times = dual(x%v * y%v, x%v * y%g + y%v * x%g)
  end function
  elemental type(dual) function times_real(x, y)
    real(dp), intent(in) :: x
    type(dual), intent(in) :: y
    times_real = dual(x * y%v, x * y%g)
  end function
  elemental type(dual) function ratio(x, y)
    type(dual), intent(in) :: x, y
    ratio = dual(x%v / y%v, (x%g - x%v / y%v * y%g) / y%v)
  end function
  elemental type(dual) function root(x)
    type(dual), intent(in) :: x
    root%v = sqrt(x%v)
    root%g = x%g / (2 * root%v)
  end function
end module

module families
  use duals
  implicit none
  real(dp), parameter :: pi = 3.141592653589793238462643383279503_dp
contains

  ! pi - th, where q = |u||v| cos th and s = |u||v| sin th.
  elemental type(dual) function rest(s, q)
    type(dual), intent(in) :: s, q
    rest%v = pi / 2 + atan(q%v / s%v)
    rest%g = (s%v * q%g - q%v * s%g) / (s%v**2 + q%v**2)
  end function

  ! The gradient of the loss times 2 pi, in the order of U, and the loss.
  pure subroutine gradient(ndim, u, par, r, loss)
    integer, intent(in) :: ndim
    real(dp), intent(in) :: u(ndim), par(*)
    type(dual), intent(out) :: r(ndim), loss
    ! Sines (times the lengths) and angles: students with each other, with the other teachers, with their own.
    type(dual), dimension(3, 3) :: c, s, p, ts, tp
    type(dual), dimension(3) :: n, d, norm, os, op
    type(dual) :: m(3, 3), q, coef, own, sigma
    logical :: one(3)
    integer :: blocks, i, j, k, at

    blocks = 2
    if (nint(par(4)) > 0) blocks = 3
    n(1)%v = par(2)
    n(2)%v = par(1) - par(2)
    n(2)%g(ndim + 1) = 1
    n(3)%v = 1
    if (nint(par(4)) == 1) n(2)%v = n(2)%v - 1
    if (nint(par(4)) == 2) n(1)%v = n(1)%v - 1
    one = [nint(n(1)%v) == 1, .false., .true.]

    ! A block of one: b = 0, its weight m(s,s) = n(s) - 1 vanishes.
    at = 0
    do i = 1, blocks
      at = at + 1
      d(i)%v = u(at)
      d(i)%g(at) = 1
      if (.not. one(i)) then
        at = at + 1
        c(i, i)%v = u(at)
        c(i, i)%g(at) = 1
        d(i) = d(i) - c(i, i)
      end if
      do j = 1, blocks
        if (j == i) cycle
        at = at + 1
        c(i, j)%v = u(at)
        c(i, j)%g(at) = 1
      end do
    end do

    ! m(s,t): the students (teachers) of block t other than one of block s.
    do i = 1, blocks
      m(i, :) = n
      m(i, i) = n(i) - 1d0
    end do

    do i = 1, blocks
      norm(i) = d(i) * d(i) + 2d0 * (d(i) * c(i, i))
      own = dual()
      do k = 1, blocks
        norm(i) = norm(i) + n(k) * (c(i, k) * c(i, k))
        own = own + m(i, k) * (c(i, k) * c(i, k))
      end do
      os(i) = root(own)
      op(i) = rest(os(i), c(i, i) + d(i))
    end do
    do i = 1, blocks
      do j = 1, blocks
        ts(i, j) = root(norm(i) - c(i, j) * c(i, j))
        tp(i, j) = rest(ts(i, j), c(i, j))
        if (j < i) cycle
        q = d(i) * c(j, i) + d(j) * c(i, j)
        do k = 1, blocks
          q = q + n(k) * (c(i, k) * c(j, k))
        end do
        if (i == j) then
          s(i, i) = root(d(i) * d(i) * (norm(i) + q))   ! norm - q = d^2: no cancellation
        else
          s(i, j) = root(norm(i) * norm(j) - q * q)
        end if
        p(i, j) = rest(s(i, j), q)
        s(j, i) = s(i, j)
        p(j, i) = p(i, j)
      end do
    end do

    at = 0
    own = n(1) + n(2)
    if (blocks == 3) own = own + n(3)
    loss = 0.5_dp * (own * ((pi - 1) + own))
    do i = 1, blocks
      sigma = dual() - os(i)
      coef = 0.5_dp * (pi * norm(i)) - (os(i) + op(i) * (c(i, i) + d(i)))
      do j = 1, blocks
        q = d(i) * c(j, i) + d(j) * c(i, j)
        do k = 1, blocks
          q = q + n(k) * (c(i, k) * c(j, k))
        end do
        sigma = sigma + m(i, j) * (s(i, j) - ts(i, j))
        coef = coef + m(i, j) * (0.5_dp * (s(i, j) + p(i, j) * q) - (ts(i, j) + tp(i, j) * c(i, j)))
      end do
      loss = loss + n(i) * coef
      coef = pi + ratio(sigma, norm(i))

      at = at + 1
      r(at) = coef * (c(i, i) + d(i)) + mixed(i, i) - op(i)
      if (.not. one(i)) then
        at = at + 1
        r(at) = coef * c(i, i) + mixed(i, i) + d(i) * p(i, i) - tp(i, i)
      end if
      do j = 1, blocks
        if (j == i) cycle
        at = at + 1
        r(at) = coef * c(i, j) + mixed(i, j) + d(j) * p(i, j) - tp(i, j)
      end do
    end do
    loss = (0.5_dp / pi) * loss

  contains
    ! The other students' c(.,j), weighted by pi - th.
    pure type(dual) function mixed(i, j)
      integer, intent(in) :: i, j
      integer :: k
      do k = 1, blocks
        mixed = mixed + m(i, k) * (p(i, k) * c(k, j))
      end do
    end function
  end subroutine
end module

subroutine func(ndim, u, icp, par, ijac, f, dfdu, dfdp)
  use families
  implicit none
  integer, intent(in) :: ndim, icp(*), ijac
  real(dp), intent(in) :: u(ndim), par(*)
  real(dp), intent(out) :: f(ndim)
  real(dp), intent(inout) :: dfdu(ndim, ndim), dfdp(ndim, *)
  type(dual) :: r(ndim), loss
  integer :: i
  call gradient(ndim, u, par, r, loss)
  f = r%v
  if (ijac == 0) return
  do i = 1, ndim
    dfdu(i, :) = r(i)%g(:ndim)
    if (ijac == 2) dfdp(i, 1) = r(i)%g(ndim + 1)
  end do
end subroutine

subroutine pvls(ndim, u, par)
  use families
  implicit none
  integer, intent(in) :: ndim
  real(dp), intent(in) :: u(ndim)
  real(dp), intent(inout) :: par(*)
  type(dual) :: r(ndim), loss
  call gradient(ndim, u, par, r, loss)
  par(3) = loss%v
end subroutine

! The start is in the constants file; AUTO wants the other routines to exist.
subroutine stpnt
end subroutine

subroutine bcnd
end subroutine

subroutine icnd
end subroutine

subroutine fopt
end subroutine
