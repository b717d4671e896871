// expect: output_limit
class Problem {
    static long twice(long x) {
        while (true) {
            System.err.println("flood flood flood flood flood flood flood flood");
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
