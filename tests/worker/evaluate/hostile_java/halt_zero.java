// expect: failed
// halt runs no hook and asks nobody.
class Problem {
    static long twice(long x) {
        Runtime.getRuntime().halt(0);
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
