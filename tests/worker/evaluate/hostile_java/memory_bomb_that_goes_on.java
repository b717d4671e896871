// expect: timed_out
// Catches every error and asks again.
import java.util.ArrayList;
import java.util.List;

class Problem {
    static long twice(long x) {
        List<long[]> kept = new ArrayList<>();
        while (true) {
            try {
                kept.add(new long[1 << 17]);
            } catch (OutOfMemoryError more) {
                kept.clear();
            }
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
