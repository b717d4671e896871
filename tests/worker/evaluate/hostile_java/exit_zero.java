// expect: failed
// A status of 0 is no proof that the tests ran.
class Problem {
    static long twice(long x) {
        System.exit(0);
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
