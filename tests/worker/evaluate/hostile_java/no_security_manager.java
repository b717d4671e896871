// expect: sandbox_violation
// Takes the guard away.
class Problem {
    static long twice(long x) {
        System.setSecurityManager(null);
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
