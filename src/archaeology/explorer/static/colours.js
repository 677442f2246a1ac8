// Numbers become colours here: three maps for amounts, one for signed values, all readable without red or green.
// The tables are matplotlib's; `python docs/colours.py` writes them.

/** @typedef {Uint8Array} ColourMap  256 colours of three bytes each, from the lowest value to the highest */

/** @param {string} text base64 as addresses have it @returns {ColourMap} */
function decodedTable(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

const VIRIDIS = decodedTable("RAFURAJVRANXRQVYRQZaRQhbRglcRgteRgxfRg5hRw9iRxFjRxJlRxRmRxVnRxZpRxhqSBlrSBpsSBxuSB1vSB5wSCBxSCFySCJzSCN0RyV1RyZ2Ryd3Ryh4Ryp5Ryt6Ryx7Ri18Ri98RjB9RjF-RTJ_RTR_RTWARTaBRDeBRDmCQzqDQzuDQzyEQj2EQj6FQkCFQUGGQUKGQEOHQESHP0WHP0eIPkiIPkmJPUqJPUuJPUyJPE2KPE6KO1CKO1GKOlKLOlOLOVSLOVWLOFaLOFeMN1iMN1mMNlqMNluMNVyMNV2MNF6NNF-NM2CNM2GNMmKNMmONMWSNMWWNMWaNMGeNMGiNL2mNL2qNLmuOLmyOLm2OLW6OLW-OLHCOLHGOLHKOK3OOK3SOKnWOKnaOKneOKXiOKXmOKHqOKHqOKHuOJ3yOJ32OJ36OJn-OJoCOJoGOJYKOJYONJISNJIWNJIaNI4eNI4iNI4mNIomNIoqNIouNIYyNIY2MIY6MII-MIJCMIJGMH5KMH5OLH5SLH5WLH5aLHpeKHpiKHpmKHpmKHpqJHpuJHpyJHp2IHp6IHp-IHqCHH6GHH6KGH6OGIKSFIKWFIaaFIaeEIqeEI6iDI6mCJKqCJauBJqyBJ62AKK5_Ka9_KrB-K7F9LLF9LrJ8L7N7MLR6MrV6M7Z5Nbd4Nrh3OLl2Obl2O7p1Pbt0PrxzQL1yQr5xRL5wRb9vR8BuScFtS8JsTcJrT8NpUcRoU8VnVcZmV8ZlWcdkW8hiXslhYMlgYspfZMtdZ8xcacxba81Zbc5YcM5Wcs9VdNBUd9BSedFRfNJPftJOgdNMg9NLhtRJiNVHi9VGjdZEkNZDktdBldc_l9g-mtg8ndk6n9k4oto3pdo1p9szqtsyrdwwr9wust0std0rt90put4nvd4mv98kwt8ixd8hx-AfyuAezeAdz-Ec0uEb1OEa1-IZ2uIY3OIY3-MY4eMY5OMY5-QZ6eQZ7OQa7uUb8eUc8-Ue9uYf-OYh-uYi_eck"); // viridis
const CIVIDIS = decodedTable("ACJNACNPACNQACRSACVUACZVACZXACdZAChbAChcACleACpgACpiACtkACxmACxnAC1pAC5rAC9tAC9vADBwADBwADFwADFwBDJwCDNwCzNwDjRwETVvFDZvFjZvGDdvGjhvHDhuHTluHzpuITtuIjtuJDxuJT1tJz1tKD5tKj9tKz9tLEBtLkFsL0JsMEJsMUNsMkRsNERsNUVsNkZsN0ZsOEdsOUhsOkhrO0lrPUprPktrP0trQExrQU1rQk1rQ05rRE9rRU9rRlBrR1FrSFFrSVJrSlNrS1RsTFRsTVVsTlZsTlZsT1dsUFhsUVhsUllsU1psVFpsVVttVlxtV11tWF1tWV5tWV9tWl9tW2BuXGFuXWFuXmJuX2NuYGRuYWRvYWVvYmZvY2ZvZGdvZWhwZmlwZ2lwaGpwaGtxaWtxamxxa21xbG1ybW5ybm9ybnBzb3BzcHFzcXJzcnN0c3N0dHR1dHV1dXV1dnZ2d3d2eHh2eXh3eXl3enp3e3t3fHt4fXx4fn14f314gH54gX94goB4g4B4hIF4hYJ4hYN4hoN4h4R4iIV4iYZ4ioZ4i4d4jIh4jYl4jol4j4p3kIt3kYx3kox3k413lI53lY93lo93l5B2mJF2mZJ2mpN2m5N2nJR2nZV1npZ1n5Z1oJd1oZh0opl0o5p0pJp0pZtzppxzp51zqJ5zqZ5yqp9yq6ByrKFxraJxrqJxr6NwsKRwsaVwsqZvs6ZvtKdvtahutqlut6ptuKttuattuqxsu61svK5rva9rvrBqv7BqwbFpwrJpw7NoxLRoxbVnxrVnx7ZmyLdlybhlyrlky7pkzLtjzbxizrxiz71h0L5g0r9g08Bf1MFe1cJe1sNd18Nc2MRb2cVa2sZa28dZ3MhY3slX38pW4MtV4cxU4sxT481S5M5R5c9Q5tBP6NFO6dJN6tNM69RL7NVK7dZI7tdH79hG8dlE8tpD89pC9NtA9dw_9t09-N47-d86-uA4--E2_eI0_eMz_eU0_eY2_ec3"); // cividis
const MAGMA = decodedTable("AAADAAAEAAAGAQAHAQEJAQELAgINAgIPAwMRBAMTBAQVBQQXBgUZBwUbCAYdCQcfCgciCwgkDAkmDQooDgoqDwssEAwvEQwxEg0zFA01FQ44Fg46Fw88GA8_GhBBGxBEHBBGHhBJHxFLIBFNIhFQIxFSJRFVJhFXKBFZKhFcKxFeLRBgLxBiMBBlMhBnNBBoNQ9qNw9sOQ9uOw9vPA9xPg9yQA9zQg90Qw91RQ92Rw93SBB4ShB5SxB5TRF6TxF7UBJ7UhJ8UxN8VRN9VxR9WBV-WhV-WxZ-XRd-Xhd_YBh_YRh_Yxl_ZRqAZhqAaBuAaRyAaxyAbB2Abh6Bbx6BcR-Bcx-BdCCBdiGBdyGBeSKBeiKBfCOBfiSBfySBgSWBgiWBhCaBhSaBhyeBiSiBiiiBjCmAjSmAjyqAkSqAkiuAlCuAlSyAlyx_mS1_mi1_nC5_ni5-ny9-oS9-ozB-pDB9pjF9pzF9qTJ8qzN8rDN7rjR7sDR7sTV6szV6tTZ5tjZ5uDd4uTd4uzh3vTl3vjl2wDp1wjp1wzt0xTx0xjxzyD1yyj5yyz5xzT9wzkBw0EFv0UJu00Jt1ENt1kRs10Vr2UZq2kdp3Ehp3Ulo3kpn4Etm4Uxm4k1l5E5k5VBj5lFi51Ji6FRh6lVg61Zg7Fhf7Vlf7lte7l1d715d8GBd8WFc8mNc82Vc82db9Ghb9Wpb9Wxb9m5b9nBb93Fb93Nc-HVc-Hdc-Xlc-Xtd-X1d-n9e-oBe-oJf-4Rg-4Zg-4hh-4pi_Ixj_I5j_JBk_JJl_JNm_ZVn_Zdo_Zlp_Ztq_Z1r_Z9s_aFu_aJv_aRw_qZx_qhz_qp0_qx1_q52_q94_rF5_rN7_rV8_rd9_rl__ruA_ryC_r6D_sCF_sKG_sSI_saJ_seL_smN_suO_c2Q_c-S_dGT_dKV_dSX_daY_dia_dqc_dyd_d2f_d-h_eGj_OOl_OWm_Oao_Oiq_Oqs_Oyu_O6w_PCx_PGz_PO1_PW3-_e5-_m7-_q9-_y_"); // magma

/** Maps for amounts: lightness rises from one end to the other. @type {Record<string, ColourMap>} */
export const MAPS = { viridis: VIRIDIS, cividis: CIVIDIS, magma: MAGMA };

/** The map for signed values: blue below zero, white at zero, red above. Paint it from -m to +m. @type {ColourMap} */
export const SIGNED = decodedTable("BTBhBjJjBzRmCDZpCThsCjpvCzxyDD51DUB4DkN7D0V-EUeBEkmEE0uHFE2KFU-NFlGQF1STGFaVGViYGlqbHFyeHV6hHmCkH2KnIGSqIWasI2itJGquJWyvJ22wKG-wKXGxK3OyLHWzLXa0L3i1MHq2MXy3M324NH-5NYG5N4O6OIS7OYa8O4i9PIq-PYu_P43AQI_BQZHCQ5PDRpTESZbFTJjGT5rHUpzIVZ7JWKDKW6LLXqTMYabNZajOaKrPa6zQbq7RcbDSdLLTd7TVerbWfbjXgLrYhLzZh77aisDbjcLckMTdk8XelcbfmMjfmsngncrhn8vhos3ipM7jp8_kqdDkq9LlrtPmsNTms9XntdfouNjoutnpvdrqv9zrwt3rxN7sx9_tyeHtzOLuzuPv0eXw0uXw0-bw1efw1ufx2Ojx2enx2-nx3Ory3uvy3-zy4ezz4u3z5O7z5e7z5-_06PD06vH06_H07fL17vP18PP18fT28_X29PX29vb29_b29_X09_Ty9_Pw-PLu-PDs-O_q-O7o-e3n-ezl-evj-erh-enf-ujd-ufb-uXZ-uTX--PW--LU--HS--DQ_N_O_N7M_N3K_NzI_dvH_NjE_NbB-9S--9K8-9C5-s62-sy0-sqx-ceu-cWr-cOp-MGm-L-j-L2h97ue97mb97eZ9rSW9rKT9bCQ9a6O9ayL9KqI9KiG9KaD86OA8qB-8Z5875t67ph47ZZ27JN065By6o5w6Itu54hs5oVq5YNo5IBl4n1j4Xth4Hhf33Vd3nJb3XBZ221X2mpV2WhT2GVR12JP1mBN1F1L01pK0VdJ0FRHzlFGzU9FzExDyklCyUZBx0M_xkA-xT48wzs7wjg6wDU4vzI3vjA2vC00uyozuScyuCQxtiEvtR8utBwtshkrsBcqrRYqqhUppxQppBMooRIonhEnmxAnmRAnlg8mkw4mkA0ljQwligskhwokhAkjgQgjfgciewYieAUhdQQhcgMgbwIgbAEfaQAfZwAf"); // RdBu_r

/**
 * Paint values as RGBA. What is not a number stays transparent; what lies outside the range takes the colour at its end.
 * @param {ArrayLike<number>} values
 * @param {number} low value of the map's first colour
 * @param {number} high value of its last; where it is not above `low`, every number takes the first colour
 * @param {ColourMap} map one of MAPS, or SIGNED
 * @param {Uint8ClampedArray | Uint8Array} [out] four bytes for each value; made where it is missing
 * @returns {Uint8ClampedArray | Uint8Array} `out`
 */
export function paint(values, low, high, map, out = new Uint8ClampedArray(4 * values.length)) {
  const scale = high > low ? 255 / (high - low) : 0;
  for (let index = 0, to = 0; index < values.length; index += 1, to += 4) {
    const value = values[index];
    if (Number.isNaN(value)) {
      out[to] = out[to + 1] = out[to + 2] = out[to + 3] = 0;
      continue;
    }
    const from = 3 * Math.round(Math.min(255, Math.max(0, scale === 0 ? 0 : (value - low) * scale)));
    out[to] = map[from];
    out[to + 1] = map[from + 1];
    out[to + 2] = map[from + 2];
    out[to + 3] = 255;
  }
  return out;
}
