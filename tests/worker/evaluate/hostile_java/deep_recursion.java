// expect: failed
class Problem {
    static long twice(long x) {
        return twice(x + 1) + 1;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
